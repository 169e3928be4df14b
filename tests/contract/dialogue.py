"""The scripted dialogues that every gateway and every client must pass (dialogues/README.md)."""

from livebalance.cli.protocol.dialogues import ROOT, Dialogue, Frame, Step, dialogues

__all__ = ["ROOT", "Dialogue", "Frame", "Step", "dialogues"]
