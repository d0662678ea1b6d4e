"""A network node by node: what one node's reduced precision adds, and what the nodes before it have added already.

    network.py    an ONNX graph taken apart: any part of it as a model of its own
    parts.py      parts that run: a node, a suffix
    others.py     the other engine's tensors: computed by its own graph, or shown by the engine
    walk.py       node after node over a few frames, with no more tensors in memory than are still to be read
    numbers.py    errors, headroom and spacing of one tensor
    origins.py    nodes of the file that a node of the folded graph came from
    movable.py    what can be written in a reduced type, and what then is when some nodes are kept in fp32
    mixed.py      a graph in fp16 or bf16 but for chosen nodes, typed, for any runtime
    carried.py    the same as an emulated engine runs it

Nothing here knows what a line is; harness/layers decodes what the parts give.
"""
