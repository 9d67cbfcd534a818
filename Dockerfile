# The course on a CPU: docker build -t rs-course . && docker run --rm -p 8888:8888 rs-course
# tests/test_ways_in.py checks the same steps without Docker.
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends make git bubblewrap && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home student
USER student
WORKDIR /home/student/rs-course
COPY --chown=student . .
RUN python3 -m rs_course.cli setup
ENV PATH="/home/student/rs-course/.venv/bin:$PATH"
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "--LabApp.default_url=/lab/tree/notebooks/00_orientation.ipynb"]
