"""How often does a good candidate fail the shipped policies, and what do they catch: simulated drives, the real gate.

noise        kinds of noise over time; those that limits may be chosen by, and those that are held out
drives       what two rungs draw on many drives of one version, with planted faults
numbers      drives through Comparer and the gate's questions: one number for each question and drive
suites       the gate's rules on suites of some of these drives
definitions  whether what is kept was measured as it would be now
cells        what is simulated, kept and resumed
report       the table and the plot of docs/gate.md
"""
