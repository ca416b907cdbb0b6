"""The torch way of taking steps, beside the native one in lanes/. The step itself is in step.py, its layers in layers/.

stepper     a way of taking steps: what the trainer asks, answered by torch
draws       batches, drawn on the device
keys        random keys of steps
schedule    learning rates of steps
process     what the process is told before torch computes
"""
