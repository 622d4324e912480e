
const field = document.getElementById("search");
const rows = Array.from(document.querySelectorAll("#rows tbody tr"));
const texts = rows.map((row) => row.textContent.toLowerCase());
const found = document.getElementById("found");

field.addEventListener("input", () => {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  rows.forEach((row, n) => {
    const matches = words.every((word) => texts[n].includes(word));
    row.hidden = !matches;
    count += matches;
  });
  found.textContent = `${count} of ${rows.length} shown`;
});
document.getElementById("searching").hidden = false;
