"""The provider's error codes as it sends them: HTTP status and Chinese text of each.

Source: docs.bigmodel.cn, `faq/api-code` (2026) and `api/api-code` (2025). A code with two texts is
sent with either in the wild; a text that no public page quotes is a paraphrase. Names in braces are
filled in when the error is sent.
"""

from __future__ import annotations

import msgspec


class ErrorAnswer(msgspec.Struct, frozen=True):
    """An error as the service answers it."""

    code: str
    status: int
    message: str


class ProviderError(msgspec.Struct, frozen=True):
    """One row of the table of codes."""

    status: int
    texts: tuple[str, ...]


def _row(status: int, *texts: str) -> ProviderError:
    return ProviderError(status, texts)


PROVIDER_ERRORS: dict[str, ProviderError] = {
    "500": _row(500, "内部错误"),
    "1000": _row(401, "身份验证失败"),
    "1001": _row(401, "Header中未收到Authentication参数，无法进行身份验证"),
    "1002": _row(401, "Authorization Token非法，请确认Authorization Token正确传递。"),
    "1003": _row(401, "Authentication Token已过期，请重新生成/获取"),
    "1004": _row(401, "通过 Authentication Token 的验证失败"),
    "1005": _row(401, "需要二次认证"),
    "1100": _row(500, "账户读写"),
    "1110": _row(429, "您的账户当前处于非活动状态。请检查账户信息"),
    "1111": _row(429, "您的账户不存在"),
    "1112": _row(429, "您的账户已被锁定，请联系客服解锁"),
    "1113": _row(429, "余额不足或无可用资源包，请充值后重试。", "您的账户已欠费，请充值后重试"),
    "1120": _row(500, "无法成功访问您的账户，请稍后重试"),
    "1121": _row(429, "账户存违规行为，账号已被锁定"),
    "1200": _row(500, "API 调用错误"),
    "1210": _row(400, "API 调用参数有误，请检查文档"),
    "1211": _row(400, "模型不存在，请检查模型代码。"),
    "1212": _row(400, "当前模型不支持{method}调用方式"),
    "1213": _row(400, "未正常接收到{field}参数"),
    "1214": _row(400, "{field} 参数非法。请检查文档。"),
    "1215": _row(400, "{field}与{other}不能同时设置"),
    "1220": _row(403, "您无权访问{api}"),
    "1221": _row(400, "API {api}已下线"),
    "1222": _row(400, "API {api}不存在"),
    "1230": _row(500, "API 调用流程出错"),
    "1231": _row(400, "您已有请求：{id}"),
    "1232": _row(400, "获取异步请求结果时请使用task_id"),
    "1233": _row(400, "任务：{id}不存在"),
    "1234": _row(500, "网络错误，错误id：{id}，请联系客服"),
    "1235": _row(500, "网络错误，错误id：{id}"),
    "1260": _row(500, "API 运行时错误"),
    "1261": _row(400, "Prompt 超长", "Prompt exceeds max length"),
    "1300": _row(400, "API 调用被策略阻止"),
    "1301": _row(
        400,
        "系统检测到输入或生成内容可能包含不安全或敏感内容，"
        "请您避免输入易产生敏感内容的提示语，感谢您的配合。",
    ),
    "1302": _row(
        429,
        "您的账户已达到速率限制，请您控制请求频率",
        "您当前使用该API的并发数过高，请降低并发，或联系客服增加限额。",
    ),
    "1303": _row(429, "您当前使用该 API 的频率过高，请降低频率，或联系客服增加限额"),
    "1304": _row(429, "该 API 已达今日调用次数限额，如有更多需求，请联系客服购买"),
    "1305": _row(
        429,
        "该模型当前访问量过大，请您稍后再试",
        "该 API 已触发流量限制",
        "当前API请求过多，请稍后重试",
    ),
    "1308": _row(429, "已达到 {number} {unit} 的使用上限。您的限额将在 {reset} 重置"),
    "1309": _row(429, "您的 GLM Coding Plan 套餐已到期，暂无法使用"),
    "1310": _row(429, "您已达到每周/每月使用上限，您的限额将在 {reset} 重置"),
    "1311": _row(429, "当前订阅套餐暂未开放{model}权限"),
    "1312": _row(429, "该模型当前访问量过大，请您稍后再试，或切换其他模型如{other}等"),
    "1313": _row(429, "账户使用模式不符合公平使用策略，请求频率已受到限制"),
    "1314": _row(429, "企业套餐已失效"),
    "1315": _row(429, "该 API Key 仅可用于企业 Coding 套餐"),
    "1316": _row(429, "已达到 5 小时的使用上限，您的限额将在 {reset} 重置"),
    "1317": _row(429, "已达到 7 天的使用上限，您的限额将在 {reset} 重置"),
    "1318": _row(429, "成员已达到 5 小时的使用上限，您的限额将在 {reset} 重置"),
    "1319": _row(429, "成员已达到 7 天的使用上限，您的限额将在 {reset} 重置"),
    "1320": _row(429, "企业账户余额不足"),
    "1321": _row(429, "已达到企业设置的消费上限"),
}
"""Business codes by their number; `"500"` is the answer that carries no code of its own."""

_DEFAULTS = {
    "method": "SSE",
    "field": "messages",
    "other": "glm-4-air-250414",
    "api": "chat/completions",
    "id": "20260101000000000000",
    "number": "5",
    "unit": "小时",
    "reset": "2030-01-01 00:00:00",
    "model": "glm-4-plus",
}


def error_answer(code: str, variant: int = 0, **values: str) -> ErrorAnswer:
    """The answer for `code`; `variant` picks among its texts, `values` fill their names."""
    row = PROVIDER_ERRORS[code]
    text = row.texts[variant % len(row.texts)]
    return ErrorAnswer(code, row.status, text.format_map(_DEFAULTS | values))


def invalid_parameter(name: str, rule: str) -> ErrorAnswer:
    """1210 with the specific text that the service gives for a parameter out of its range."""
    return ErrorAnswer("1210", PROVIDER_ERRORS["1210"].status, f"{name}参数非法：{rule}")
