"""Curation: only true, clean, new traces reach a student, and everyone can see why the others did not.

`stage` is the door: traces on disk in, kept and dropped ones on disk out. Behind it stand

- `look`, `crew`, `student`, `ledger`, `report`: the stream over all cores, what is decided, and what people are told;
- `verify`, `worker`, `compare`, `mathematics`, `words` and beside them: whether an answer is right, by rule;
- `judge`, `ballot`: the same by a model's votes;
- `quality`, `markup`, `program`, `repetition`, `language`, `scripts`: what is wrong with a text by itself;
- `decontaminate`, `ngrams`, `targets`, `fuzzy`, `inside`, `normal`: what is tested on and must not be trained on;
- `signatures`, `candidates`, `dedupe`, `neighbours`, `select`: what says the same, and which of the good are taken.
"""
