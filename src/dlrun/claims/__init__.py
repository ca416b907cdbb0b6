"""Statements about training neural networks, each with the experiment that tests it and a verdict from its runs.

claim.py        what a file of conf/claim says
finding.py      a question, what answers it, and the answer: supported, refuted or inconclusive
checks.py       the kinds of questions
forms.py        how a file writes them
quantities.py   the number of a run that a check is about
identities.py   what holds for functions, without any training
fitted.py       what holds for trained runs beside the solution of a library
examine.py      trains what a claim asks for and judges it
page.py         the verdicts as a page of Markdown
"""
