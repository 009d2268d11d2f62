"""How likely a text is after a prompt, by a GGUF model in this process.

llama.cpp's server tells the probabilities of the tokens that it writes, not of those that it is given. So it
is made to write the text: a grammar allows one token at each position, and the probability that is told is
the one that the model gave that token before the grammar ruled out all others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from embexp.errors import ModelError

_SECONDS = 600.0
"""How long the server, which may be reading a passage, may take to answer."""


class Likelihood:
    """Log-likelihoods of texts after prompts.

    Args:
        server: The server of xllamacpp that holds the model.
        name: The model's name in messages.
        slots: The texts that are scored at once.
    """

    def __init__(self, server: Any, *, name: str, slots: int) -> None:
        self._server = server
        self._name = name
        self._slots = slots
        self._tokens: dict[str, tuple[int, ...]] = {}

    def log_likelihoods(self, items: Sequence[tuple[str, str]]) -> list[float]:
        """Return log P(text | prompt) of each (prompt, text), in nats; 0 for an empty text.

        Items of one prompt should follow one another: what they share is read once.

        Raises:
            ModelError: A prompt does not fit into the context, or the model gave no probabilities.
        """
        self._tokenize([text for _, text in items])
        with ThreadPoolExecutor(self._slots, thread_name_prefix="likelihood") as pool:
            return list(pool.map(lambda item: self._log_likelihood(*item), items))

    def _log_likelihood(self, prompt: str, text: str) -> float:
        tokens = self._tokens[text]
        if not tokens:
            return 0.0
        body = {
            "prompt": prompt,
            "grammar": "root ::= " + " ".join(f"<[{token}]>" for token in tokens),
            "max_tokens": len(tokens),
            "temperature": 0.0,
            "logprobs": 1,
            "cache_prompt": True,
        }
        answer = self._server.handle_completions(body)
        if isinstance(answer, (str, bytes)):
            answer = json.loads(answer)
        written = self._written(answer)
        if [entry.get("id") for entry in written] != list(tokens):
            raise ModelError(
                f"{self._name} gave no probabilities for {text[:60]!r}: update it with "
                "pip install -U xllamacpp, or give another GGUF file."
            )
        return sum(float(entry["logprob"]) for entry in written)

    def _written(self, answer: Any) -> list[Mapping[str, Any]]:
        """Return the tokens that were written, with their probabilities."""
        error = answer.get("error")
        if error:
            message = str(error.get("message", error))
            raise ModelError(
                f"{self._name} cannot read a passage and its query ({message[:200]}): raise "
                "teacher.context_tokens, or lower teacher.passage_characters."
            )
        content: list[Mapping[str, Any]] = (answer["choices"][0].get("logprobs") or {}).get("content", [])
        return content

    def _tokenize(self, texts: Sequence[str]) -> None:
        """Look up the tokens of texts that are new, which the model's own server knows."""
        import httpx

        new = [text for text in dict.fromkeys(texts) if text not in self._tokens]
        # Never through a proxy: the address is this process's own.
        with httpx.Client(trust_env=False, timeout=_SECONDS) as client:
            for text in new:
                response = client.post(f"{self._server.listening_address}/tokenize", json={"content": text})
                response.raise_for_status()
                self._tokens[text] = tuple(int(token) for token in response.json()["tokens"])
