"""Every sentence of the reports in English; chinese.py has the same keys and blanks.

`{n:item|items}` is `item` if the blank `n` is 1, else `items`.
"""

ENGLISH = {
    # Names
    "all": "all domains",
    "synthetic": "{domain} (synthetic)",
    "higher": "higher",
    "lower": "lower",
    "no detectable difference": "no detectable difference",
    "closer": "closer",
    "farther": "farther",
    "interval": "{low} to {high}",
    "none": "–",
    # Headings
    "title": "Distillation report: {name}",
    "verdict": "Verdict",
    "warnings": "Warnings",
    "scores": "Scores",
    "seeds": "Spread over seeds",
    "outcomes": "How the answers ended",
    "contrasts": "Contrasts",
    "gap": "Gap recovered",
    "fidelity": "Fidelity to the teacher",
    "lm_eval": "lm-evaluation-harness",
    "curves": "Training",
    "cost": "Cost",
    "models": "Models",
    "stages": "Stages",
    "disk": "Disk",
    "contamination": "Contamination",
    "environment": "Environment",
    "configuration": "Configuration",
    # Notes
    "scores_note": "The mean score has a 95% interval: Wilson for right-or-wrong items, bootstrap for others.",
    "seeds_note": "Each arm was trained once with each seed, on the same data, and the mean, standard deviation and "
    "range are over these trainings. The interval over items is that of the first seed, whose student all other tables "
    "show. The difference from the base is the mean over seeds; its 95% interval includes the variation between seeds "
    "and between items (crossed random factors, Student's t with Satterthwaite's degrees of freedom). It is bold if "
    "the interval excludes 0.",
    "seeds_used": "Seeds",
    "seed_mean": "Mean",
    "seed_sd": "SD (points)",
    "seed_range": "Range",
    "item_ci95": "95% over items",
    "over_base": "− Base",
    "say_seeds": "{domain}: {model} over seeds {seeds}: mean {mean}, SD {sd} points, range {low} to {high}",
    "say_seeds_base": "; over the base {difference} points (95%, seeds and items: {bounds})",
    "controls": "Controls of the grader",
    "controls_note": "Answers that need no understanding of the item must stay below 15%; the reference answer must "
    "reach 100%. Blind answers are right ones in other words than the key's: their score is the metric's ceiling.",
    "control": "Answer",
    "score_column": "Mean score",
    "contrasts_note": "Differences are in percentage points on the same items, with paired 95% bootstrap intervals. p "
    "is Holm-adjusted within a domain. A difference is bold only if both its interval and its test exclude 0. The last "
    "column is the smallest true difference that these items detect with 80% power. They can miss a smaller one.",
    "kd_after_sft_note": "KD started from the SFT student. So its difference from SFT includes the effect of more "
    "epochs on the same answers (kd_epochs={epochs}).",
    "gap_note": "(model − base) / (teacher − base). No value is given if the teacher's lead over the base "
    "cannot be told from 0.",
    "fidelity_note": "These values are measured on the teacher's answers to the evaluation prompts. No student was "
    "trained on them. Mean KL is KL(teacher || model) in nats per token at T=1. Top-1 agreement is the share of tokens "
    "for which both rank the same token first. Intervals resample whole answers.",
    "fidelity_contrast_note": "Difference in mean KL (nats per token). Below 0, the first model is closer to the "
    "teacher.",
    "lm_eval_note": "This is the table that EleutherAI's lm-evaluation-harness {version} prints. It runs every model "
    "in transformers, whichever engine ran the evaluation above, with the model's own chat template. The tasks "
    "define their own prompts, examples and graders, so these values cannot be compared with the scores above. "
    "Stderr is a standard error, not an interval.",
    "lm_eval_limited": "Only the first {limit} {limit:item|items} of each task {limit:was|were} run (lm_eval_limit).",
    "contamination_note": "The table counts evaluation items that are training items after normalisation, and other "
    "evaluation items that share 13 consecutive words with a training item.",
    "by_domain": "By domain",
    "models_note": "These values are measured during the evaluation. The number below a student's value says how many "
    "times smaller it is than the teacher's (for tokens/s: how many times larger).",
    "tokens_unit": "tokens",
    "disk_note": "The size is the bytes in each folder of this run.",
    "teacher_answers": "Teacher's answers to the training items",
    "reference_answers": "Reference solutions as training answers",
    "mixed_answers": "Training answers: reference solutions ({domains}), and the teacher's",
    "num_responses": "Answers kept",
    "num_rejected": "Items without a usable answer, left out",
    "teacher_context": "What the teacher saw and the students did not",
    "curation": "Answers to learn from, and items by their share of right answers",
    "curation_note": "sft/rejected.jsonl lists the items without a usable answer, each with its last answer.",
    "never_right": "Training items that no answer of the teacher gets right",
    "never_right_note": "The share is that of the domain's graded items. The table names at most {n} items of a "
    "domain; sft/never_right.jsonl lists all, each with its reference, the grader's verdicts and the last answer.",
    "item_ids": "Items (id)",
    "curation_items": "Items",
    "curation_answers": "Answers kept",
    "curation_unusable": "Wrong or unusable",
    "curation_duplicates": "Same working",
    "curation_outliers": "Far too long",
    "none_right": "None right",
    "few_right": "Below half",
    "most_right": "Half or more",
    "all_right": "All right",
    "mean_score_on": "Mean score of the answers kept on {domain}",
    "try": "Try {number}",
    "try_yield": "{correct} of {asked} right",
    "no_curves": "No training was logged.",
    "no_contrasts": "No two models of a declared contrast were evaluated.",
    "no_fidelity": "No fidelity was measured.",
    # Columns
    "domain": "Domain",
    "metric": "Metric",
    "metric_of": "{metric}, n={n}",
    "items": "Items",
    "model": "Model",
    "contrast": "Contrast",
    "difference": "Difference",
    "ci95": "95% interval",
    "p_holm": "p (Holm)",
    "wins_losses": "Better / worse",
    "detectable": "Could have shown",
    "conclusion": "Conclusion",
    "truncated": "Truncated",
    "no_answer": "No answer",
    "mean_tokens": "Tokens an answer",
    "statuses": "Verdicts of the grader",
    "also": "Also",
    "recovered": "Recovered",
    "teacher_lead": "Teacher's lead",
    "withheld": "withheld",
    "mean_kl": "Mean KL",
    "top1_agreement": "Top-1 agreement",
    "perplexity": "Perplexity",
    "answers": "Answers",
    "parameters": "Parameters",
    "weight_bytes": "Weights",
    "tokens_per_second": "Tokens/s",
    "peak_memory": "Peak memory",
    "predicted_time": "Predicted time",
    "predicted_memory": "Predicted memory",
    "predictions": "Predicted and measured",
    "predictions_note": "Predictions are those of `l2s plan` at the start of the run, memory for one device.",
    "no_predictions": "No plan was kept.",
    "stage": "Stage",
    "time": "Time",
    "tokens": "Tokens",
    "device": "Device",
    "folder": "Folder",
    "size": "Size",
    "train_items": "Training items",
    "eval_items": "Evaluation items",
    "duplicates": "Same item",
    "ngram_overlaps": "Shared 13-gram",
    "eval_item": "Evaluation item",
    "train_item": "Training item",
    "share": "Share found",
    "shared_text": "Text in common",
    "whole_problem": "the whole problem",
    "leaks": "Items in common",
    "leaks_note": "The table shows at most the {n} most affected items; results.json lists all. Share is the fraction "
    "of the evaluation item's 13-grams found in the training data.",
    "setting": "Setting",
    "value": "Value",
    "sandbox": "Sandbox for model-written code",
    "no_code_run": "no model-written code was run",
    "devices": "Models ran on",
    "processor": "Processor",
    "processor_count": "{cores} {cores:core|cores}, {threads} {threads:thread|threads}, {usable_threads} of them "
    "usable",
    "memory": "Memory",
    "gpus": "GPUs",
    "no_gpu": "none",
    "operating_system": "Operating system",
    "bf16_units": "bfloat16 units of the CPU",
    "commit": "Commit",
    "started_at": "Started",
    "total": "total",
    "arm": "Arm",
    "sequences": "Sequences",
    "held_out": "Held out",
    "dropped_overlong": "Dropped, too long",
    "cut_overlong": "Cut, too long",
    "steps": "Steps",
    "points_axis": "difference, percentage points",
    "nats_axis": "nats per token, lower is closer",
    "percent_axis": "% of tokens",
    "step": "step",
    "loss": "loss",
    "ce": "cross-entropy",
    "training_loss": "on the batch of each step",
    "heldout_loss": "on {n} {n:answer|answers} held out of training",
    "loss_trained": "Loss",
    "loss_held_out": "Loss, held out",
    "curves_note": "The loss of a step is computed on its batch before the update. The held-out loss is computed on "
    "the same few answers at every point, so it shows whether the student generalises beyond its training answers. "
    "Losses are in nats per token. KD's divergence is computed at its temperature.",
    "merge_note": "{arm}: the evaluated student holds {share} of the change that this training made to its weights "
    "(merge_weight); the losses are those of the whole change.",
    "divergence": "divergence",
    "opd_health": "Health of on-policy distillation",
    "opd_note": "Before: a few answers that the student sampled before its first update. First and last: means of up "
    "to 10 updates. Overlap: share of the student's 16 likeliest tokens that are among the teacher's 16, at the "
    "student's own tokens; it rises where the training works. Reverse KL and entropy are in nats per token.",
    "opd_figure": "Figure",
    "opd_sampled": "Before",
    "opd_first": "First updates",
    "opd_last": "Last updates",
    "opd_low": "Lowest",
    "opd_high": "Highest",
    "opd_truncated": "Answers cut at opd_max_new_tokens",
    "opd_mean_length": "Tokens an answer",
    "opd_ended": "Answers that end the turn",
    "opd_top_k_overlap": "Top-16 overlap with the teacher",
    "opd_reverse_kl": "Reverse KL to the teacher",
    "opd_entropy": "Entropy of the student",
    "opd_grad_norm": "Gradient norm",
    # Sentences of the verdict
    "say_contrast": "{model} against {reference}: {parts}.",
    "say_higher": "higher on {domains}",
    "say_lower": "lower on {domains}",
    "say_no detectable difference": "no detectable difference on {domains}",
    "say_finding": " ({difference}{bounds})",
    "say_units": "Differences are in percentage points, with their 95% intervals.",
    "say_first_seed": "All of this is about the students of seed {seed}. The spread over seeds {seeds} is shown apart.",
    "say_unseen": "A true difference of up to {points} points could be missed where none is detected.",
    "say_too_few": "Some contrasts have too few items to show any difference.",
    "comma": ", ",
    "say_closer": "{model} is closer to the teacher's distribution than {reference} (mean KL {kl} against "
    "{kl_reference} nats per token; difference {difference}{bounds}).",
    "say_farther": "{model} is farther from the teacher's distribution than {reference} (mean KL {kl} against "
    "{kl_reference} nats per token; difference {difference}{bounds}).",
    "say_as_close": "{model} and {reference} show no detectable difference in closeness to the teacher (mean KL "
    "{kl} against {kl_reference} nats per token; difference {difference}{bounds}).",
    "say_gain": "{domain} {difference} points{bounds}",
    "say_gain_share": " ({share} of the teacher's lead)",
    "say_gain_unclear": " (no detectable difference)",
    "say_headline_kl": "mean KL to the teacher {before} → {after} nats per token",
    "say_headline_size": "{parameters} times smaller and {speed} times as fast as the teacher",
    "say_no_student": "No trained student was evaluated, so there is no contrast to judge.",
    "say_not_graded": "No answer was graded, so there are no scores to compare.",
    "say_nothing": "No model was evaluated.",
    "say_contaminated": "The {domain} score is contaminated and supports no conclusion about new problems.",
    "join": "; ",
    "space": " ",
    # Warnings
    "warn_trusted_code": "trust_remote_code was on: the teacher {teacher} and the student {student} could run Python "
    "code from their repositories, with the rights of whoever ran this experiment. This project has not checked it.",
    "warn_contaminated": "The {domain} score is contaminated: {found} of {n} evaluation {n:item|items} {found:is|are} "
    "in the training data{because}. It measures memorisation as well as ability.",
    "fault_part": "{status} {found}",
    "because": " ({setting})",
    "warn_mixed_versions": "Stages of this experiment were made with different versions ({names}); differences between "
    "models may come from them.",
    "warn_mixed_settings": "Stages of this experiment read different values of a setting ({names}); the table of "
    "settings shows that of the last stage.",
    "warn_outdated_students": "Trained on files that have been made again since, and are others now: {models}. "
    "Train and evaluate again to compare students of the same answers.",
    "warn_ngrams": "{domain}: {found} of {n} evaluation {n:item|items} {found:shares|share} a run of 13 words with "
    "a training item.",
    "warn_controls": "{domain}: the grader fails its controls ({names}), so do not trust its scores.",
    "warn_faults": "{domain}: the grader failed on {found} of {n} {n:answer|answers} of {model} ({faults}); "
    "{found:it counts|these count} as 0.",
    "warn_truncated": "Many answers were cut at max_new_tokens={limit} or never closed their <think>: {truncated}. A "
    "larger limit shows whether the limit or the model is the cause.",
    "truncated_part": "{model} on {domain} {found} of {n}",
    "warn_missing_items": "{model}: {found} of {n} evaluation {n:item|items} {found:has|have} an answer; contrasts use "
    "the shared items.",
    "warn_fidelity_left_out": "{model}: {found} of {n} evaluation {n:answer|answers} {found:has|have} no finite "
    "distance to the teacher. {found:It is|They are} left out of the fidelity; check the model and its dtype.",
    "warn_fidelity_odd": "{model}: on {found} of {n} evaluation {n:answer|answers} the KL or loss is above {limit} "
    "nats per token. {found:It dominates|They dominate} the means; check the model and its dtype.",
    "warn_absent": "Not evaluated: {models}.",
    "warn_remote_teacher": "The teacher answered through an endpoint, the students in {engines}. The teacher's speed "
    "is the server's speed. Fidelity is not measured because it needs the teacher's weights.",
    "warn_server_temperature": "The teacher answered at the server's own temperature (endpoint_body), the students "
    "greedily. Another run may give the teacher other scores.",
    "warn_batches_cut": "Memory ran out: all models were evaluated with {found} {found:prompt|prompts} at a time "
    "instead of eval_batch_size={asked}.",
    "warn_batches_differ": "Memory ran out: models were evaluated with different numbers of prompts at a time "
    "({batches}). Rounding depends on that number and can change single answers. To evaluate all alike, add "
    "--eval_batch_size {found} --force.",
    "batches_part": "{model} {sizes}",
    "warn_other_places": "Evaluated on another device than the teacher, or with another number of usable threads: "
    "{models}. So their speed and peak memory are not compared with the teacher's.",
    "stage_warning": "{stage}: {warning}",
    # What stages warn of
    "warn_cut_answers": "{found} of {n} teacher {n:answer|answers} on {domain} {found:was|were} cut at max_new_tokens; "
    "students will learn to stop in the middle of an answer: raise --max_new_tokens",
    "warn_no_room": "{found} of {n} training {n:prompt|prompts} {found:has|have} max_length={limit} tokens or more, so "
    "nothing is learned from {found:its answer|their answers}: raise --max_length or leave {found:this row|these rows} "
    "out",
    "warn_markup_train": "{found} of {n} training {n:prompt|prompts}, as the teacher sees {n:it|them}, "
    "{found:holds|hold} the text of a special token ({token} in {example}), which a model reads as chat markup and "
    "not as text: remove it or spell it differently",
    "warn_markup_eval": "{found} of {n} evaluation {n:prompt|prompts} {found:holds|hold} the text of a special token "
    "({token} in {example}), which a model reads as chat markup and not as text: remove it or spell it differently",
    "warn_empty_answers": "{found} of {n} teacher {n:answer|answers} on {domain} {found:was|were} empty and "
    "{found:is|are} not learned from: check the teacher's chat template, or whether --max_new_tokens ended its "
    "thinking",
    "warn_same_answers": "{found} of {n} teacher answers on {domain} are one and the same text: check the teacher and "
    "what it is asked",
    "warn_rare_kind": '{domain}: {found} of {n} {n:item|items} of the kind "{kind}" {found:has|have} an answer to '
    "learn from, and {others} of {of_others} other {of_others:item|items}: students can get worse on this kind; look "
    "at never_right.jsonl and rejected.jsonl",
    "warn_loss_rose": "the loss rose from {before:.3g} in the first steps to {after:.3g} in the last ones: lower the "
    "learning rate",
    "warn_repeated_train": "{domain}: {found} of {n} training {n:row|rows} {found:repeats|repeat} the prompt of an "
    "earlier row ({example}), so {found:it counts|they count} more than once",
    "warn_repeated_eval": "{domain}: {found} of {n} evaluation {n:row|rows} {found:repeats|repeat} the prompt of an "
    "earlier row ({example}), so {found:it counts|they count} more than once, and intervals are too narrow",
    "warn_contradicting": "{domain}: {found} of {n} {n:row|rows} {found:repeats|repeat} the prompt of another row with "
    "another reference ({example}); a right answer to one is wrong for the other",
    "warn_unclosed_thinking": "{found} of {n} teacher {n:answer|answers} on {domain} ended inside {found:its|their} "
    "thinking; students will learn to think without answering: check --thinking and the teacher's chat template",
    "warn_topk": "at the start of KD, topk signals misstate the divergence by {error:.0%} for a single token and by "
    "{bias:+.0%} over all tokens ({tail:.0%} of the teacher's mass is outside the top k); hidden signals are exact",
    "warn_opd_never_ends": "before its first update, the student did not end {found} of {n} sampled "
    "{n:answer|answers} within opd_max_new_tokens={limit}, so it learns mostly from text after the end of an answer: "
    "train it with SFT first, or raise --opd_max_new_tokens",
    "warn_opd_length": "the student ran away: in step {step}, {now:.0%} of its answers were cut at opd_max_new_tokens "
    "({before:.0%} at the start). Compare it with its initial student. Lower --opd_lr or raise --opd_max_new_tokens",
    "warn_opd_overlap": "the student ran away: in step {step}, its likeliest tokens were the teacher's to {now:.0%} "
    "({before:.0%} at the start). Compare it with its initial student. Lower --opd_lr or start from an SFT student",
    "warn_opd_kl": "the student ran away: in step {step}, its reverse KL to the teacher was {now:.2f} nats a token "
    "({before:.2f} at the start). Compare it with its initial student. Lower --opd_lr or start from an SFT student",
    # Item browser
    "browse": "Items",
    "all_domains": "All domains",
    "all_items": "All items",
    "filter_over": "{better} right where {worse} wrong",
    "filter_truncated": "Truncated",
    "filter_disagree": "Models disagree",
    "filter_all_wrong": "All wrong",
    "search": "Search prompts, references and answers",
    "show": "Show",
    "count_items": "Items: {shown} of {n}",
    "no_items": "No item matches.",
    "prompt": "Prompt",
    "reference": "Reference",
    "extracted": "Understood as",
    "details": "Details",
    "score": "score",
    "cut": "cut",
    "previous": "Previous",
    "next": "Next",
    "keys": "j and k or the arrow keys move through the items, / searches, Esc leaves the search.",
    "no_script": "The item browser needs JavaScript; everything above does not.",
    "no_unpack": "This browser cannot unpack the items; use a version from 2024 or later.",
    "contents": "Contents",
    # Comparison of two runs
    "compare_title": "{a} against {b}",
    "compare_config": "Settings, files, versions and machines that differ",
    "compare_same_config": "All settings are the same, and so are the files that both runs read, the versions and the "
    "machines.",
    "compare_version": "version of {name}",
    "compare_circumstances": "Versions or machines differ, so differences in scores may come from them and not from "
    "the settings, and times are not comparable.",
    "compare_content": "content of {name}",
    "compare_grader_changed": "The grader {file} changed between the two runs, so differences in scores may come from "
    "it and not from the answers.",
    "compare_scores": "Scores side by side",
    "compare_contrasts": "Paired contrasts",
    "compare_seed": "{name}: the students of seed {seed}. Its own report has the spread over seeds {seeds}.",
    "compare_contrasts_note": "Differences are B − A in percentage points, on the items whose id, prompt and "
    "reference are the same in both runs. p is Holm-adjusted within a domain.",
    "compare_no_items": "The two runs share no evaluation item, so there is no paired contrast.",
    "compare_fidelity": "Fidelity side by side",
    "compare_cost": "Time side by side",
}
