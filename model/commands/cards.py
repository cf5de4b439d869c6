"""python -m model card"""
import json

from model import zoo
from model.common.files import refuse_unwritable, write_text
from model.zoo import card

__all__ = ["run"]


def run(args):
    if args.output:
        refuse_unwritable(args.output)
    nets = [zoo.load(args.net)] if args.net else [zoo.load(name) for name in zoo.names()]
    cards = [card.card(net) for net in nets]
    value = cards[0] if args.net else cards
    if args.output:
        write_text(args.output, card.dump(value))
        print(args.output)
    elif args.json:
        print(json.dumps(value))
    else:
        print(card.dump(value) if args.net else card.table(cards))
