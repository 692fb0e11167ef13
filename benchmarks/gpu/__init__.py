"""What a GPU does: `mnas-search bench gpu`, one script for a machine without Ray or a network.

Phases run one after the other, each in a process of its own and for a bounded time; what they find
is written row by row. On a CPU they do the same with less.

    running      the phases, their processes, the files
    work         what a phase works with
    phases       the list, in order of value
    machine      the card, its bandwidth and arithmetic
    checks       tests marked `gpu`
    launches     a step: eager, captured, several candidates in turns
    graphs       a whole step as one CUDA graph
    candidates   trainings of candidates, beside a plain loop; several processes on a card
    trainings    whole networks: EfficientNet-B0 from random weights, Lite0 fine-tuned
    supernets    a supernet of the whole width, on NAS-Bench-Macro and on a space of ours
    models       memory and latency, predicted and measured
    preparing    what to carry to the machine
"""
