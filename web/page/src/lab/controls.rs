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
    /// A number, at least and in steps of.
    Number(&'static str, &'static str),
    /// Values with their names.
    Choice(&'static [(&'static str, &'static str)]),
    /// A checkbox for each width.
    Widths,
    /// A switch for a technique, and how it is done.
    Technique { off: &'static str, on: &'static [(&'static str, &'static str)], about: &'static str },
}

struct Group {
    title: &'static str,
    fields: &'static [Field],
}

/// Those whose widest one always trains.
const WIDTHS: [(&str, f64); 4] = [("1", 1.0), ("¾", 0.75), ("½", 0.5), ("¼", 0.25)];

const GROUPS: [Group; 4] = [
    Group {
        title: "Method",
        fields: &[Field {
            key: METHOD,
            label: "Learns by",
            input: Input::Choice(&[
                ("mocov2", "MoCo v2"),
                ("mocov3", "MoCo v3"),
                ("simclr", "SimCLR"),
                ("supervised", "Labels: supervised"),
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
                    about: "At first only the full network learns.",
                },
            },
            Field {
                key: "distill",
                label: "Distillation",
                input: Input::Technique {
                    off: "none",
                    on: &[
                        ("seed", "SEED: similarities"),
                        ("inplace", "Soft embeddings"),
                        ("mse_embeddings", "Embeddings, squared"),
                        ("mse_logits", "Similarities, squared"),
                        ("dkd", "Decoupled (DKD)"),
                        ("atkd", "Normalised (ATKD)"),
                    ],
                    about: "The full network teaches the others.",
                },
            },
            Field {
                key: "reweighting",
                label: "Reweighting",
                input: Input::Technique {
                    off: "0",
                    on: &[
                        ("5", "full takes all"),
                        ("7", "full takes the next"),
                        ("6", "cascade"),
                        ("2", "by width"),
                        ("1", "by share"),
                        ("3", "by scaled share"),
                    ],
                    about: "The full network’s loss counts more.",
                },
            },
            Field {
                key: "surgery",
                label: "Gradient surgery",
                input: Input::Technique {
                    off: "none",
                    on: &[("pcgrad", "PCGrad"), ("cagrad", "CAGrad")],
                    about: "Conflicting gradients are changed; not in the paper.",
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
                label: "Layers",
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
            Field { key: "batch", label: "Batch", input: Input::Number("2", "1") },
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

/// All controls of a run, or those of the options named in `only`.
#[component]
pub fn Controls(
    /// Whose.
    run: Run,
    /// What begins the controls' ids.
    id: String,
    /// Keys of options; none for all.
    only: Option<&'static [&'static str]>,
) -> impl IntoView {
    let shown = move |field: &&Field| only.is_none_or(|only| only.contains(&field.key));
    GROUPS
        .iter()
        .filter_map(|group| {
            let fields: Vec<AnyView> =
                group.fields.iter().filter(shown).map(|field| control(field, run, &id)).collect();
            (!fields.is_empty()).then(|| {
                view! {
                    <fieldset>
                        <legend>{group.title}</legend>
                        {fields}
                    </fieldset>
                }
            })
        })
        .collect_view()
}

fn control(field: &'static Field, run: Run, id: &str) -> AnyView {
    let id = format!("{id}-{}", field.key);
    let control = match &field.input {
        Input::Number(least, step) => number(field, run, &id, least, step),
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

/// What is wrong with an option.
fn problem(key: &'static str, run: Run) -> Memo<Option<String>> {
    Memo::new(move |_| {
        run.problem.with(|problem| Some(problem.as_ref().filter(|problem| problem.key == key)?.message.clone()))
    })
}

fn value(key: &'static str, run: Run) -> Memo<String> {
    Memo::new(move |_| run.options.with(|options| options.get(key)))
}

fn number(field: &'static Field, run: Run, id: &str, least: &'static str, step: &'static str) -> AnyView {
    let Field { key, label, .. } = *field;
    let (value, problem) = (value(key, run), problem(key, run));
    let invalid = move || if problem.with(Option::is_some) { "true" } else { "false" };
    view! {
        <label for=id.to_owned()>{label}</label>
        <input
            id=id.to_owned() type="number" inputmode="decimal" min=least step=step prop:value=value
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

/// A list to choose from; a value that is not in it, from the address, stands at its end.
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
                view! { <option value=*listed selected=move || value.with(|value| value == listed)>{*name}</option> }.into_any()
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
        let kept =
            WIDTHS.iter().map(|(_, other)| *other).filter(|other| if *other == width { on } else { has(*other) });
        run.set(key, &kept.map(|width| width.to_string()).collect::<Vec<_>>().join(","));
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
    ways: &'static [(&'static str, &'static str)],
    about: &'static str,
) -> AnyView {
    let Field { key, label, .. } = *field;
    let value = value(key, run);
    let is_on = move || value.with(|value| value != off);
    // What the method's recipe has, or else the first way.
    let usual = move || {
        let of_recipe = run.options.with_untracked(|options| options.with_method(options.config.method).get(key));
        if of_recipe == off { ways[0].0.to_owned() } else { of_recipe }
    };
    let toggle = move |on: bool| if on { run.set(key, &usual()) } else { run.set(key, off) };
    let select_id = format!("{id}-how");
    let (about_id, described) = (format!("{id}-about"), format!("{id}-about"));
    view! {
        <label class="switch">
            <input
                id=id.to_owned() type="checkbox" role="switch" prop:checked=is_on aria-describedby=described
                disabled=move || run.is_fixed(key) on:change=move |event| toggle(event_target_checked(&event))
            />
            <span>{label}</span>
        </label>
        <div class="how">
            {move || is_on().then(|| view! {
                <label class="unseen" for=select_id.clone()>{format!("{label}: how")}</label>
                {select(key, run, &select_id, ways)}
            })}
        </div>
        <p class="about" id=about_id>{about}</p>
    }
    .into_any()
}
