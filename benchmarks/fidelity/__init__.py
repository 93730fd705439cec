"""Do importances find the columns that matter, and do the columns chosen by them suffice?

``make fidelity`` writes ``benchmarks/fidelity.md``, its picture, and the single results. `_recovery` plants a truth and
looks whether it is found; `_selection` adds columns to real data and trains on those that were chosen.
"""
