"""A distillation as a competent user scripts it with TRL, PEFT and transformers; compare.py runs it beside l2s.

    python with_trl.py answer|sft|kd|evaluate job.json

Each step is a process of its own. Settings follow the libraries' documentation. SFT gets prompt-completion data, whose
loss counts the completion alone. KD is GKDTrainer with lmbda=0 and beta=0: forward KL at T=1 on fixed answers, with the
teacher in memory. Batches hold answers of similar length; generation pads on the left and takes long prompts first.
TRL's newer DistillationTrainer is not the peer here: it trains on answers of the student, and l2s itself runs it for
the arm `opd`. The evaluation is transformers' generation on the very prompts of l2s, because lm-evaluation-harness has
no task for generated problems and asks GSM8K in its own words; scores could not be compared.
"""

import json
import sys
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer
from trl.experimental.gkd import GKDConfig, GKDTrainer


def read(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def write(path, rows):
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def load(name):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return AutoModelForCausalLM.from_pretrained(name, dtype=getattr(torch, JOB["dtype"]), device_map=device)


def generate(name, rows):
    tokenizer = AutoTokenizer.from_pretrained(name, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = load(name)
    rows = sorted(rows, key=lambda row: -len(row["messages"][-1]["content"]))
    answered = []
    for start in range(0, len(rows), JOB["generation_batch_size"]):
        batch = rows[start : start + JOB["generation_batch_size"]]
        inputs = tokenizer.apply_chat_template(
            [row["messages"] for row in batch],
            add_generation_prompt=True,
            padding=True,
            return_tensors="pt",
            return_dict=True,
        ).to(model.device)
        with torch.inference_mode():
            output = model.generate(
                **inputs,
                max_new_tokens=JOB["max_new_tokens"],
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                pad_token_id=tokenizer.pad_token_id,
            )
        written = output[:, inputs["input_ids"].shape[1] :]
        texts = tokenizer.batch_decode(written, skip_special_tokens=True)
        ended = (written == tokenizer.eos_token_id).any(1).tolist()
        answered += [
            row | {"response": text, "finish_reason": "stop" if end else "length"}
            for row, text, end in zip(batch, texts, ended, strict=True)
        ]
    return answered


def training_arguments(arm):
    return {
        "output_dir": f"{JOB['folder']}/{arm}",
        "num_train_epochs": JOB["epochs"],
        "per_device_train_batch_size": JOB["batch_size"],
        "gradient_accumulation_steps": JOB["gradient_accumulation_steps"],
        "learning_rate": JOB["learning_rate"],
        "lr_scheduler_type": "cosine",
        "warmup_steps": JOB["warmup_ratio"],
        "bf16": JOB["dtype"] == "bfloat16",
        "use_cpu": not torch.cuda.is_available(),  # else bf16 is refused there
        "gradient_checkpointing": JOB["gradient_checkpointing"],
        "max_length": JOB["max_length"],
        "train_sampling_strategy": "group_by_length",
        "seed": JOB["seed"],
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def train(trainer, tokenizer, arm):
    trainer.train()
    merged = trainer.model.merge_and_unload()
    merged.save_pretrained(f"{JOB['folder']}/{arm}/final_model")
    tokenizer.save_pretrained(f"{JOB['folder']}/{arm}/final_model")
    Path(f"{JOB['folder']}/{arm}/steps").write_text(str(trainer.state.global_step))


def lora():
    return LoraConfig(task_type="CAUSAL_LM", r=JOB["lora_r"], lora_alpha=JOB["lora_alpha"], target_modules="all-linear")


def answer():
    write(f"{JOB['folder']}/answers.jsonl", generate(JOB["teacher"], read(JOB["train_items"])))


def sft():
    rows = read(f"{JOB['folder']}/answers.jsonl")
    data = Dataset.from_list(
        [{"prompt": row["messages"], "completion": [{"role": "assistant", "content": row["response"]}]} for row in rows]
    )
    tokenizer = AutoTokenizer.from_pretrained(JOB["student"])
    trainer = SFTTrainer(
        model=load(JOB["student"]),
        args=SFTConfig(**training_arguments("sft")),
        train_dataset=data,
        processing_class=tokenizer,
        peft_config=lora(),
    )
    train(trainer, tokenizer, "sft")


def kd():
    rows = read(f"{JOB['folder']}/answers.jsonl")
    tokenizer = AutoTokenizer.from_pretrained(JOB["student"])
    turns = [[*row["messages"], {"role": "assistant", "content": row["response"]}] for row in rows]
    lengths = [len(tokenizer.apply_chat_template(messages, tokenize=False)) for messages in turns]
    data = Dataset.from_dict({"messages": turns, "length": lengths})  # the trainer groups by this column
    trainer = GKDTrainer(
        model=load(f"{JOB['folder']}/sft/final_model"),
        teacher_model=load(JOB["teacher"]),
        args=GKDConfig(**training_arguments("kd"), lmbda=0.0, beta=0.0, temperature=1.0),
        train_dataset=data,
        processing_class=tokenizer,
        peft_config=lora(),
    )
    train(trainer, tokenizer, "kd")


def evaluate():
    trained = {f"student_{arm}": f"{JOB['folder']}/{arm}/final_model" for arm in ("sft", "kd")}
    for name, model in {"teacher": JOB["teacher"], "student_base": JOB["student"], **trained}.items():
        write(f"{JOB['folder']}/predictions_{name}.jsonl", generate(model, read(JOB["eval_items"])))


if __name__ == "__main__":
    JOB = json.loads(Path(sys.argv[2]).read_text())
    {"answer": answer, "sft": sft, "kd": kd, "evaluate": evaluate}[sys.argv[1]]()
