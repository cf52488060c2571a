"""The AT dialogue of TS 27.005 and TS 27.007, sans-IO: bytes in, events out. No clock, no port, no loop.

lexer          bytes -> lines and prompts
command        what may be asked; the one place that refuses unsafe text
result_codes   final results, their texts, and what to do about each
urc            which lines nobody asked for
states         the states, their table, the one function that moves
dialogue       AtDialogue joins them
response       reads the information lines of answers
"""
