"""Stage `score`: record the teacher's signals on its own answers, once for all epochs of KD."""

from __future__ import annotations

from l2s.chat import check_same_vocabulary, load_renderers
from l2s.config import ExperimentConfig
from l2s.generation.engines.protocol import ModelChoice
from l2s.generation.engines.table import choose_engine, open_engine
from l2s.metrics import ScoreMetrics
from l2s.models.load import vocabulary_size
from l2s.run_dir import RunDir
from l2s.sequences import as_the_teacher_reads, load_sequences
from l2s.signals.hidden import OnlyFinite
from l2s.signals.record import record_signals
from l2s.signals.store import signal_source


def run(config: ExperimentConfig, run_dir: RunDir) -> ScoreMetrics:
    """Record the teacher's signals on its answers in kd/teacher_signals.

    Raises:
        UserError: no usable answers, another vocabulary, or a teacher that cannot be loaded.
    """
    renderers = load_renderers(config)
    check_same_vocabulary(renderers.teacher, renderers.student)
    answers, _ = load_sequences(run_dir.responses, renderers.student, config, teacher=renderers.teacher)
    sequences = as_the_teacher_reads(answers)
    source = signal_source(config, renderers.teacher, sequences)
    with open_engine(ModelChoice.of_teacher(config), renderers.teacher, config, weights=True) as engine:
        hidden = OnlyFinite(engine.hidden())
        vocabulary = min(vocabulary_size(config.student_model, config), len(hidden.head.weight))
        result = record_signals(hidden, sequences, run_dir.teacher_signals, source, vocabulary=vocabulary)
        peak_bytes = engine.cost().peak_memory_bytes
    return {
        "num_sequences": result.num_sequences,
        "num_tokens": result.num_tokens,
        "bytes": result.bytes,
        "seconds": result.seconds,
        "recorded_tokens": result.recorded_tokens,
        "engine": choose_engine(config, weights=True).metric(),
        "tokens_per_second": result.recorded_tokens / result.seconds,
        "peak_memory_bytes": peak_bytes,
    }
