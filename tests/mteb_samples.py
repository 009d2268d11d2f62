"""Source of MTEB tasks that need no network; tests write it into a module of its own."""

TASKS = """
from datasets import Dataset, DatasetDict
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.sts import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata

TOPICS = ["kettle", "bicycle", "garden", "piano", "harbour", "bakery"]


class Shop(AbsTaskRetrieval):
    ignore_identical_ids = True
    metadata = TaskMetadata(
        name="Shop", description="A shop.", reference=None, type="Retrieval", category="t2t",
        modalities=["text"], dataset={"path": "none/none", "revision": "1"}, eval_splits=["test"],
        eval_langs=["eng-Latn"], main_score="ndcg_at_10", date=None, domains=None, task_subtypes=None,
        license=None, annotations_creators=None, dialect=None, sample_creation=None, bibtex_citation=None,
    )

    def load_data(self, num_proc=None, **kwargs):
        documents = {f"{t}{n}": f"the {t} number {n} in the shop" for t in TOPICS for n in range(4)}
        self.corpus = {"test": {name: {"title": "", "text": text} for name, text in documents.items()}}
        self.queries = {"test": {f"{t}{n}": f"which {t} is number {n}" for t in TOPICS for n in range(2)}}
        self.relevant_docs = {
            "test": {f"{t}{n}": {f"{t}{n}": 2, f"{t}{n + 1}": 1} for t in TOPICS for n in range(2)}
        }
        self.data_loaded = True


class Similar(AbsTaskSTS):
    min_score, max_score = 0, 2
    metadata = Shop.metadata.model_copy(
        update={"name": "Similar", "type": "STS", "main_score": "cosine_spearman"}
    )

    def load_data(self, num_proc=None, **kwargs):
        pairs = [(one, other) for one in TOPICS for other in TOPICS]
        self.dataset = DatasetDict({"test": Dataset.from_dict({
            "sentence1": [f"the {one} in the shop" for one, _ in pairs],
            "sentence2": [f"a {other} of the shop" for _, other in pairs],
            "score": [2.0 if one == other else len(set(one) & set(other)) / 8 for one, other in pairs],
        })})
        self.data_loaded = True


class Unreachable(Similar):
    metadata = Similar.metadata.model_copy(update={"name": "Unreachable"})

    def load_data(self, num_proc=None, **kwargs):
        raise OSError("no network")


class Pictures(Similar):
    metadata = Similar.metadata.model_copy(update={"name": "Pictures", "modalities": ["image"]})
"""
