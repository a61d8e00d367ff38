"""Writes expressions.txt: random expressions and what they come to, by Python's own parser, with numbers of 64 bits.

python3 tests/rust/map/expressions.py > tests/rust/map/expressions.txt
"""

from __future__ import annotations

import ast
import operator
import random

MASK = (1 << 64) - 1
NAMES = {"CTRL": 0x8000_0001, "RIS": 0xFFFF_FFFF, "WIDE": MASK - 2, "written": 3, "old": 0}
BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    # A shift by 64 or more leaves nothing, and Python would make a number of so many bits.
    ast.LShift: lambda a, b: a << b if b < 64 else 0,
    ast.RShift: operator.rshift,
}
COMPARE = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
SIGNS = ["+", "-", "*", "&", "|", "^", "<<", ">>", "==", "!=", "<", "<=", ">", ">=", "and", "or"]


def value(node: ast.expr) -> int:
    """What a parsed expression comes to."""
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name):
            return NAMES[name]
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return int(not value(inner))
        case ast.UnaryOp(op=ast.Invert(), operand=inner):
            return value(inner) ^ MASK
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -value(inner) & MASK
        case ast.BoolOp(op=ast.And(), values=parts):
            return int(all(value(part) for part in parts))
        case ast.BoolOp(op=ast.Or(), values=parts):
            return int(any(value(part) for part in parts))
        case ast.IfExp(test=test, body=body, orelse=other):
            return value(body) if value(test) else value(other)
        case ast.BinOp(left=left, op=op, right=right):
            return BINARY[type(op)](value(left), value(right)) & MASK
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return int(COMPARE[type(op)](value(left), value(right)))
    raise ValueError(ast.dump(node))


def made(dice: random.Random, depth: int) -> str:
    """A random expression, with few parentheses, so that precedence decides."""
    if depth == 0 or dice.random() < 0.1:
        return dice.choice([*NAMES, "0", "1", "2", "63", "64", "0xff", "0b1_01", str(MASK)])
    match dice.randrange(12):
        case 0:
            return f"not {made(dice, depth - 1)}"
        case 1:
            return f"{dice.choice('-~')}{made(dice, depth - 1)}"
        case 2:
            return f"({made(dice, depth - 1)})"
        case 3:
            return " ".join(
                [made(dice, depth - 1), "if", made(dice, depth - 1), "else", made(dice, depth - 1)]
            )
    return f"{made(dice, depth - 1)} {dice.choice(SIGNS)} {made(dice, depth - 1)}"


def main() -> None:
    """Print a table of them."""
    dice = random.Random(1)
    seen: set[str] = set()
    while len(seen) < 600:
        text = made(dice, dice.randint(1, 4))
        try:
            tree = ast.parse(text, mode="eval")
        except SyntaxError:  # a == not b
            continue
        chained = any(isinstance(node, ast.Compare) and node.ops[1:] for node in ast.walk(tree))
        if text not in seen and not chained:
            seen.add(text)
            print(f"{value(tree.body):#x} = {text}")


if __name__ == "__main__":
    main()
