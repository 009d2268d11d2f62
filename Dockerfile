# embexp with the weights of MiniLM, for the CPU: `docker build -t embexp .`, then see docs/install.md.
FROM python:3.11-slim-bookworm

# The build of torch: https://download.pytorch.org/whl/cu128 for an NVIDIA GPU.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/work/.cache/huggingface

WORKDIR /opt/embexp
COPY constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt --extra-index-url "$TORCH_INDEX" torch

COPY pyproject.toml README.md LICENSE ./
COPY conf ./conf
COPY embexp ./embexp
COPY hydra_plugins ./hydra_plugins
RUN pip install --no-cache-dir --constraint constraints.txt --extra-index-url "$TORCH_INDEX" ".[offline]" \
    && useradd --uid 1000 --create-home embexp \
    && install --directory --owner embexp /work

USER 1000
WORKDIR /work
ENTRYPOINT ["embexp"]
CMD ["--help"]
