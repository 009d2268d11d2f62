"""The losses: one short class each over sentence-transformers' own, with the columns that it reads.

``columns`` names the shape of the training rows (see ``embexp.finetuning.columns``): ``pairs`` are
(anchor, positive[, negatives]), ``triplets`` (anchor, positive, negative), ``scored`` (text_a,
text_b, score in [0, 1]) and ``binary`` (text_a, text_b, 0 or 1).
"""
