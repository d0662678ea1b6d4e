"""`trueline model precision`: a smallest set of nodes to keep in fp32 so that the rules hold again (docs/precision.md).

search.py     delta debugging over sets of nodes: knows sets and answers, nothing else
weights.py    multiplications of a node
trial.py      one set of nodes: written as a mixed graph, replayed, judged by the gate
recall.py     what is the same in every trial: tensors of frames
team.py       trials in processes side by side
measure.py    ranking, search with two seeds, proof
result.py     what came of it: files for runtimes, JSON, words
"""
