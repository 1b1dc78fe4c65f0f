# docker build -t finesweep . && docker run --rm -v "$PWD/outputs:/app/outputs" finesweep
# With a GPU: docker run --gpus all ... finesweep peft=lora; a search: docker run ... finesweep -m
FROM python:3.11-slim

WORKDIR /app
# What is installed changes seldom: a change of the code alone builds on the layers above it.
COPY pyproject.toml constraints.txt README.md LICENSE train.py ./
COPY src src
COPY conf conf
COPY sweeps sweeps
RUN pip install --no-cache-dir -c constraints.txt -e '.[demo]'

# Runs go to /app/outputs: mount a folder there.
VOLUME /app/outputs
ENTRYPOINT ["python", "train.py"]
