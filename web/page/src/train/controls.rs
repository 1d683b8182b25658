//! The controls of a run's options.

use leptos::prelude::*;

use super::{
    options::{DEVICE, METHOD},
    run::Run,
};

/// A control of one option.
struct Field {
    key: &'static str,
    label: &'static str,
    input: Input,
}

enum Input {
    /// A number with its minimum and step.
    Number(&'static str, &'static str),
    /// Values and their names.
    Choice(&'static [(&'static str, &'static str)]),
    /// A checkbox for each width.
    Widths,
    /// A switch for a technique, and its variants.
    Technique { off: &'static str, on: &'static [(&'static str, &'static str)], about: &'static str },
}

struct Group {
    title: &'static str,
    fields: &'static [Field],
}

/// The widths to choose from; width 1 always trains.
const WIDTHS: [(&str, f64); 4] = [("1", 1.0), ("¾", 0.75), ("½", 0.5), ("¼", 0.25)];

const GROUPS: [Group; 4] = [
    Group {
        title: "Objective",
        fields: &[Field {
            key: METHOD,
            label: "Method",
            input: Input::Choice(&[
                ("mocov2", "MoCo v2"),
                ("mocov3", "MoCo v3"),
                ("simclr", "SimCLR"),
                ("simdis", "BYOL"),
                ("seed", "SEED: with a teacher"),
                ("disco", "DisCo: with a teacher"),
                ("supervised", "Supervised"),
            ]),
        }],
    },
    Group {
        title: "Against interference",
        fields: &[
            Field {
                key: "slow_start",
                label: "Slow start",
                input: Input::Technique {
                    off: "0",
                    on: &[("0.5", "half of the run"), ("0.25", "a quarter of the run"), ("0.75", "three quarters")],
                    about: "Trains only the full network at first.",
                },
            },
            Field {
                key: "distill",
                label: "Distillation",
                input: Input::Technique {
                    off: "none",
                    on: &[
                        ("seed", "SEED (paper)"),
                        ("inplace", "In-place"),
                        ("mse_embeddings", "MSE of embeddings"),
                        ("mse_logits", "MSE of logits"),
                        ("dkd", "DKD"),
                        ("atkd", "ATKD"),
                    ],
                    about: "The full network teaches the sub-networks.",
                },
            },
            Field {
                key: "reweighting",
                label: "Reweighting",
                input: Input::Technique {
                    off: "0",
                    on: &[
                        ("5", "1 + Σ rest"),
                        ("7", "1 + next"),
                        ("6", "cascade"),
                        ("2", "w"),
                        ("1", "w / Σ w"),
                        ("3", "n w / Σ w"),
                    ],
                    about: "Gives the full network’s loss a larger weight.",
                },
            },
            Field {
                key: "surgery",
                label: "Gradient surgery",
                input: Input::Technique {
                    off: "none",
                    on: &[("pcgrad", "PCGrad"), ("cagrad", "CAGrad")],
                    about: "Changes gradients that conflict; not in the paper.",
                },
            },
        ],
    },
    Group {
        title: "Network",
        fields: &[
            Field { key: "widths", label: "Widths", input: Input::Widths },
            Field {
                key: "depth",
                label: "Depth",
                input: Input::Choice(&[
                    ("8", "8"),
                    ("14", "14"),
                    ("20", "20"),
                    ("26", "26"),
                    ("32", "32"),
                    ("56", "56"),
                ]),
            },
            Field {
                key: "multiplier",
                label: "Channels",
                input: Input::Choice(&[("0.25", "× ¼"), ("0.5", "× ½"), ("1", "× 1"), ("2", "× 2"), ("4", "× 4")]),
            },
        ],
    },
    Group {
        title: "Training",
        fields: &[
            Field { key: "batch", label: "Batch size", input: Input::Number("2", "1") },
            Field { key: "learning_rate", label: "Learning rate", input: Input::Number("0", "any") },
            Field { key: "epochs", label: "Epochs", input: Input::Number("0", "any") },
            Field { key: "seed", label: "Seed", input: Input::Number("0", "1") },
            Field {
                key: DEVICE,
                label: "Device",
                input: Input::Choice(&[("auto", "WebGPU, else CPU"), ("webgpu", "WebGPU"), ("cpu", "CPU")]),
            },
        ],
    },
];

/// The controls of a run.
#[component]
pub fn Controls(
    /// The run.
    run: Run,
    /// Prefix of the controls' element ids.
    id: String,
) -> impl IntoView {
    let group = |group: &'static Group| {
        let fields: Vec<AnyView> = group.fields.iter().map(|field| control(field, run, &id)).collect();
        view! {
            <fieldset>
                <legend>{group.title}</legend>
                {fields}
            </fieldset>
        }
        .into_any()
    };
    GROUPS.iter().map(group).collect::<Vec<_>>()
}

fn control(field: &'static Field, run: Run, id: &str) -> AnyView {
    let id = format!("{id}-{}", field.key);
    let control = match &field.input {
        Input::Number(min, step) => number(field, run, &id, min, step),
        Input::Choice(values) => choice(field, run, &id, values),
        Input::Widths => widths(field, run),
        Input::Technique { off, on, about } => technique(field, run, &id, off, on, about),
    };
    let problem = problem(field.key, run);
    let id = format!("{id}-problem");
    view! {
        <div class="field" class:wrong=move || problem.with(Option::is_some)>
            {control}
            <p class="problem" id=id role="alert">{problem}</p>
        </div>
    }
    .into_any()
}

/// Returns why an option is invalid.
fn problem(key: &'static str, run: Run) -> Memo<Option<String>> {
    Memo::new(move |_| {
        run.problem.with(|problem| Some(problem.as_ref().filter(|problem| problem.key == key)?.message.clone()))
    })
}

fn value(key: &'static str, run: Run) -> Memo<String> {
    Memo::new(move |_| run.options.with(|options| options.get(key)))
}

fn number(field: &'static Field, run: Run, id: &str, min: &'static str, step: &'static str) -> AnyView {
    let Field { key, label, .. } = *field;
    let (value, problem) = (value(key, run), problem(key, run));
    let invalid = move || if problem.with(Option::is_some) { "true" } else { "false" };
    view! {
        <label for=id.to_owned()>{label}</label>
        <input
            id=id.to_owned() type="number" inputmode="decimal" min=min step=step prop:value=value
            aria-invalid=invalid aria-describedby=format!("{id}-problem")
            disabled=move || run.is_fixed(key)
            on:change=move |event| run.set(key, &event_target_value(&event))
        />
    }
    .into_any()
}

fn choice(field: &'static Field, run: Run, id: &str, values: &'static [(&'static str, &'static str)]) -> AnyView {
    let Field { key, label, .. } = *field;
    view! {
        <label for=id.to_owned()>{label}</label>
        {select(key, run, id, values)}
    }
    .into_any()
}

/// A drop-down list. A value from the address that is not in the list is added at its end.
fn select(key: &'static str, run: Run, id: &str, values: &'static [(&'static str, &'static str)]) -> AnyView {
    let value = value(key, run);
    let other = move || {
        let value = value.get();
        let is_listed = values.iter().any(|(listed, _)| *listed == value);
        (!is_listed).then(|| view! { <option value=value.clone() selected>{value.clone()}</option> })
    };
    view! {
        <select
            id=id.to_owned() disabled=move || run.is_fixed(key) aria-describedby=format!("{id}-problem")
            prop:value=value on:change=move |event| run.set(key, &event_target_value(&event))
        >
            {values.iter().map(|(listed, name)| {
                let selected = move || value.with(|value| value == listed);
                view! { <option value=*listed selected=selected>{*name}</option> }.into_any()
            }).collect::<Vec<_>>()}
            {other}
        </select>
    }
    .into_any()
}

fn widths(field: &'static Field, run: Run) -> AnyView {
    let key = field.key;
    let has = move |width: f64| run.options.with(|options| options.config.widths.contains(&width));
    let toggle = move |width: f64, on: bool| {
        let chosen =
            WIDTHS.iter().map(|(_, other)| *other).filter(|other| if *other == width { on } else { has(*other) });
        run.set(key, &chosen.map(|width| width.to_string()).collect::<Vec<_>>().join(","));
    };
    view! {
        <span class="label">{field.label}</span>
        <span class="boxes" role="group" aria-label=field.label>
            {WIDTHS.iter().map(|(name, width)| {
                let fixed = move || *width == 1.0 || run.is_fixed(key);
                view! {
                    <label>
                        <input
                            type="checkbox" prop:checked=move || has(*width) disabled=fixed
                            on:change=move |event| toggle(*width, event_target_checked(&event))
                        />
                        {*name}
                    </label>
                }.into_any()
            }).collect::<Vec<_>>()}
        </span>
    }
    .into_any()
}

fn technique(
    field: &'static Field,
    run: Run,
    id: &str,
    off: &'static str,
    variants: &'static [(&'static str, &'static str)],
    about: &'static str,
) -> AnyView {
    let Field { key, label, .. } = *field;
    let value = value(key, run);
    let is_on = move || value.with(|value| value != off);
    // The method's default variant, or else the first.
    let default_variant = move || {
        let default = run.options.with_untracked(|options| options.with_method(options.config.method).get(key));
        if default == off { variants[0].0.to_owned() } else { default }
    };
    let toggle = move |on: bool| if on { run.set(key, &default_variant()) } else { run.set(key, off) };
    let select_id = format!("{id}-variant");
    let (about_id, described) = (format!("{id}-about"), format!("{id}-about"));
    view! {
        <label class="switch">
            <input
                id=id.to_owned() type="checkbox" role="switch" prop:checked=is_on aria-describedby=described
                disabled=move || run.is_fixed(key) on:change=move |event| toggle(event_target_checked(&event))
            />
            <span>{label}</span>
        </label>
        <div class="variant">
            {move || is_on().then(|| view! {
                <label class="unseen" for=select_id.clone()>{format!("{label} variant")}</label>
                {select(key, run, &select_id, variants)}
            })}
        </div>
        <p class="about" id=about_id>{about}</p>
    }
    .into_any()
}
