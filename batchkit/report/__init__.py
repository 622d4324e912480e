"""`report.html`: what came of a run and where its time and money went, in one file.

`reading` streams a run's folder into `facts`, whose size does not depend on how many rows there
are; `charts` says what is drawn, `plots` draws it, `page` puts everything into one file.
"""
