# Runs both commands of the README. The image has no data sets, and no trained
# networks but those that ship.
#
#   docker build --tag gan .
#   docker run --rm -it gan                                    # bash scripts/quickstart.sh
#   docker run --rm -it gan bash scripts/test.sh
#   docker run --rm -it --gpus all --volume gan-runs:/home/gan/gan/runs gan
#
# On Linux PyTorch comes with CUDA, which also runs without a GPU. For a smaller image that only runs
# on CPUs, pass pip's option --extra-index-url with PyTorch's index of CPU builds:
#
#   docker build --tag gan --build-arg PIP_OPTIONS="--extra-index-url INDEX" .
FROM python:3.11-slim
ARG PIP_OPTIONS=""

RUN useradd --create-home gan
USER gan
WORKDIR /home/gan/gan
# made here, so that volumes mounted on them belong to the user too
RUN mkdir runs data

# the libraries first: a change to the code does not install them again
COPY --chown=gan requirements.txt ./
RUN python -m venv .venv \
    && grep -v '^-e' requirements.txt > /tmp/libraries.txt \
    && .venv/bin/python -m pip install --no-cache-dir $PIP_OPTIONS -r /tmp/libraries.txt
COPY --chown=gan . .
RUN bash -c 'source scripts/install.sh'

ENV PATH=/home/gan/gan/.venv/bin:$PATH
CMD ["bash", "scripts/quickstart.sh"]
