"""The losses: one short class each over sentence-transformers' own, with the columns that it reads.

``columns`` names the shape of the training rows (see ``embexp.finetuning.columns``): ``pairs`` are
(anchor, positive[, negatives]), ``triplets`` (anchor, positive, negative), ``scored`` (text_a,
text_b, score in [0, 1]), ``binary`` (text_a, text_b, 0 or 1), ``classes`` (text_a, text_b, class),
``ranked`` (anchor, positive, negatives, a teacher's score for each passage) and ``vectors`` (anchor,
positive, a teacher's vectors of both).
"""
