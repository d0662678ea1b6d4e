"""Measures of how the lines of one rung differ from those of another (docs/DESIGN.md section 4, docs/metrics.md).

Every measure is a pure function on arrays. Per frame: `stations` puts lines on fixed stations, `band` measures a
matched pair band by band (`offset`, `bend`, `kink`, `curvature` hold one measure each), `cross` does so for lines
across the road, `chamfer` for closed shapes, `pairs` puts them together, `presence` counts lines, `tensor` compares raw
outputs, `accuracy` compares with ground truth. Over time: the modules named after what they measure.
"""
