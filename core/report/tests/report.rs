//! Reports of complete, incomplete and broken runs.

mod fixture;

use fixture::{WIDTHS, complete, evaluated, interference, interfering, started, step, with_measures};
use slimclr_data::image::Image;
use slimclr_report::{
    FigureFile, LabelledPicture, Neighbours, Report, Section, System, SystemNetwork, accuracy_by_time, figures, html,
    sections, style, table,
};
use slimclr_run::{
    config::Config,
    distill::Distillation,
    event::{Evaluated, Event, NoAccuracy},
    interference::agreement::Agreement,
    interference::landscape::Waypoint,
    interference::magnitude::GradientNorms,
    method::MethodKind,
};

/// A run of an earlier version: of interference, it has only gradient norms.
fn earlier(name: &str) -> Report {
    Report { name: name.into(), events: complete(), landscape: None, neighbours: Vec::new() }
}

/// Returns the checked report of `events`.
fn page(events: Vec<Event>) -> String {
    checked(&[Report { name: "run <1>".into(), events, landscape: None, neighbours: Vec::new() }])
}

/// Returns the report of `reports`, and checks its SVGs and figures: they must be well-formed, without NaN and with
/// unique ids.
fn checked(reports: &[Report]) -> String {
    for FigureFile { name, svg, missing } in figures(reports) {
        match svg {
            Some(svg) => well_formed([svg.as_str()]),
            None => assert!(!missing.is_empty(), "{name} has neither an SVG nor a reason"),
        }
    }
    let page = html(reports);
    well_formed(svgs(&page));
    page
}

fn svgs(html: &str) -> impl Iterator<Item = &str> {
    html.match_indices("<svg").map(|(start, _)| {
        let end = start + html[start..].find("</svg>").unwrap() + "</svg>".len();
        &html[start..end]
    })
}

fn well_formed<'a>(svgs: impl IntoIterator<Item = &'a str>) {
    let mut ids = Vec::new();
    for svg in svgs {
        let tree = roxmltree::Document::parse(svg).unwrap();
        for attribute in tree.descendants().flat_map(|node| node.attributes()) {
            assert!(!attribute.value().contains("NaN") && !attribute.value().contains("inf"), "{attribute:?}");
            if attribute.name() == "id" {
                ids.push(attribute.value().to_owned());
            }
        }
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

fn says(page: &str, what: &str) {
    assert!(page.contains(what), "not on the page: {what}");
}

/// A change of options.
fn changed(step: u64, config: Config) -> Event {
    Event::Changed { step, config: Box::new(config) }
}

#[test]
fn a_complete_run_has_every_figure_of_training() {
    let page = page(complete());
    says(&page, "run &lt;1&gt;");
    says(&page, "It took 2,000 steps (50.0 epochs) in 12 min 5 s on a &lt;device&gt; &amp; &quot;more&quot;.");
    says(&page, "Width 0.25 classifies 35.0 % of the test images correctly with 6.2 % of");
    says(&page, "<td>30.0 ±\u{a0}0.5</td><td><b>70.0 ±\u{a0}0.5</b></td><td>80.0\u{a0}/ 95.0</td>");
    says(&page, "<td>60.0\u{a0}/ 90.0</td><td>70.0\u{a0}/ 92.0</td>");
    says(&page, "the cost of sharing the layer");
    for id in ["accuracy-by-cost", "probes-by-cost", "accuracy-over-training", "loss-0", "loss-3", "figure3-0"] {
        says(&page, &format!(r#"id="{id}-title""#));
    }
    says(&page, "slow start ends");
    says(&page, "temperature = 0.1");
    says(&page, "No neighbours are recorded");
    says(&page, "No singular values of gradients are recorded; “slimclr pretrain --interference” measures them.");
    says(&page, "There is no loss landscape; “slimclr landscape” computes one");
    assert_eq!(page.matches("No cosines between gradients of widths are recorded").count(), 1);
}

#[test]
fn a_run_that_waited_for_images_says_so() {
    let waiting = |share| {
        let mut events = complete();
        for event in &mut events {
            if let Event::Step(step) = event {
                step.waited = Some(share);
            }
        }
        page(events)
    };
    says(&waiting(0.34), "It waited for images 34.0 % of the time.");
    assert!(!waiting(0.09).contains("It waited"));
}

#[test]
fn the_page_loads_nothing_from_the_network() {
    let page = checked(&[interfering("a"), interfering("b")]).replace(r#"xmlns="http://www.w3.org/2000/svg""#, "");
    for outside in ["http:", "https:", "url(", "@import", "<script", "src=\"/"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn losses_before_the_slow_start_ends_are_not_drawn() {
    let page = page(complete());
    says(&page, "<desc id=\"loss-0-desc\">From 3.474 to");
    // 10 · 8 / ln 1010 at step 1010, not the zero of step 10.
    says(&page, "<desc id=\"loss-3-desc\">From 11.565 to");
}

#[test]
fn what_losses_consist_of_is_drawn_beside_chance_level() {
    let losses = section(&[interfering("run")], "losses");
    for part in [
        "Contrastive loss",
        "Contrastive accuracy, top-1",
        "Divergence from wider networks",
        ">chance</text>",
        "queue filled",
        "a guess among 4,097 candidates, the positive and 4,096 negatives, has a loss of ln 4,097 = 8.32",
        "until the queue is filled, at step 32",
        "Weighted loss (nats)",
    ] {
        says(&losses, part);
    }
    let mut supervised = interfering("run");
    for event in &mut supervised.events {
        if let Event::Started(started) = event {
            started.config = Config { method: MethodKind::Supervised, dim: 10, ..started.config.clone() };
        }
    }
    says(&section(&[supervised], "losses"), "Accuracy on training views, top-1");
    // Files of earlier versions, and methods that report nothing.
    assert!(!section(&[earlier("old")], "losses").contains(">chance"));
    says(&section(&[earlier("old"), interfering("new")], "losses"), ">chance</text>");
}

#[test]
fn steps_that_an_interrupted_run_lost_are_not_reported() {
    let mut events = vec![started(0), step(500, 3.0), step(900, 123.456), started(500), step(510, 2.0)];
    events.push(Event::Stopped { step: 510 });
    let page = page(events);
    says(&page, "It was stopped after 510 of 2,000 steps (12.8 epochs, resumed once) on");
    says(&page, "From 3.000 to 2.000.");
    says(&page, "Not trained yet: slow start ends at step 1,000.");
}

#[test]
fn reports_of_young_runs_say_what_is_missing() {
    says(&page(Vec::new()), "no `started` event");
    let begun = page(vec![started(0)]);
    for what in [
        "It took none of 2,000 steps",
        "No width was evaluated,",
        "No linear probe was trained;",
        "No width’s accuracy was measured more than once.",
        "Measures without labels were not recorded more than once.",
        "No training steps are recorded.",
        "No gradient norms are recorded.",
        "The run has no evaluation after training. The run has no evaluation before training.",
    ] {
        says(&begun, what);
    }
    let untrained = page(std::iter::once(started(0)).chain(evaluated(0, 0.3)).collect());
    says(&untrained, "No evaluation after training is recorded.");
}

#[test]
fn values_that_are_nan_or_infinite_leave_a_valid_page() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 0.0, -1.0] {
        let mut events = vec![started(0)];
        events.extend(evaluated(0, value));
        events.extend([step(10, value), step(20, 1.0), step(1500, value)]);
        events.extend([interference(10, [value; 4], value), interference(20, [1.0, value, 1.0, value], 0.0)]);
        events.extend(evaluated(1500, value));
        events.push(Event::Finished { step: 1500, seconds: value });
        says(&page(events), "Configuration");
    }
    let diverged = page(vec![started(0), step(10, 1.0), step(20, f64::NAN)]);
    says(&diverged, "Width 1.0: the loss is NaN or infinite at 1 step,");
}

#[test]
fn reports_of_long_runs_are_small() {
    let mut events = complete();
    events.truncate(5);
    events.extend((1..=100_000).map(|n| step(n, 1.0 + (n % 7) as f64)));
    let page = page(events);
    says(&page, "Training step (thousands)");
    assert!(page.len() < 200_000, "{} bytes", page.len());
}

#[test]
fn neighbours_of_the_same_class_are_marked_by_text_and_class() {
    let page = with_neighbours([Some("cat"), Some("cat"), Some("<dog>")]);
    says(&page, r#"<li class="same"><img"#);
    says(&page, r#"alt="&lt;dog&gt;, another class"><span>&lt;dog&gt;</span></li>"#);
    says(&page, "<span>1 of 2</span>");
}

/// Returns a report with the picture of one query and two neighbours of these classes.
fn with_neighbours(classes: [Option<&str>; 3]) -> String {
    let image = Image { width: 1, height: 1, pixels: vec![9, 9, 9] };
    let [query, first, second] =
        classes.map(|class| LabelledPicture { image: image.clone(), class: class.map(String::from) });
    let neighbours = vec![Neighbours { query, per_width: vec![(1.0, vec![first, second])] }];
    html(&[Report { name: "run".into(), events: complete(), landscape: None, neighbours }])
}

#[test]
fn neighbours_without_labels_have_pictures_and_no_captions() {
    let page = with_neighbours([None; 3]);
    says(&page, r#"alt="neighbour 2"></li>"#);
    says(&page, r#"alt="test image"></div>"#);
    for about_classes in ["of 2</span>", "same class", "another class", "classes."] {
        assert!(!page.contains(about_classes), "{about_classes}");
    }
}

/// An evaluation without labels.
fn unlabelled(step: u64, cosine_same_image: f64) -> impl Iterator<Item = Event> {
    WIDTHS.into_iter().map(move |width| {
        let epoch = step as f64 / 40.0;
        let no_accuracy = Some(NoAccuracy::NoLabels);
        with_measures(Evaluated { step, epoch, width, no_accuracy, ..Evaluated::default() }, cosine_same_image)
    })
}

/// A run of images without labels.
fn without_labels(name: &str) -> Report {
    let mut events = vec![started(0)];
    events.extend(unlabelled(0, 0.2));
    events.extend((10..=2000).step_by(10).map(|n| step(n, 8.0 / (n as f64).ln())));
    events.extend(unlabelled(1000, 0.5));
    events.extend(unlabelled(2000, 0.75));
    events.push(Event::Finished { step: 2000, seconds: 725.0 });
    Report { events, ..earlier(name) }
}

#[test]
fn a_run_without_labels_shows_what_needs_none_and_says_why() {
    let run = without_labels("run");
    let page = checked(std::slice::from_ref(&run));
    says(&page, "There is no accuracy, because the images have no labels.");
    says(&page, "two views of one image have a mean cosine of 0.75, views of different images 0.10. Before training");
    says(&page, r#"<td><span class="before">6.0 →</span> <b>17.0</b></td>"#);
    for id in ["measures-0", "measures-3", "loss-0"] {
        says(&page, &format!(r#"id="{id}-title""#));
    }
    for accuracy in ["kNN", "Linear probes", "Accuracy"] {
        assert!(!page.contains(accuracy), "{accuracy}");
    }
    says(&section(std::slice::from_ref(&run), "accuracy"), "There is no accuracy, because the images have no labels.");
    says(&table(&run).unwrap(), "Uniformity");
    // Beside a run with labels.
    let both = checked(&[run, earlier("labelled")]);
    says(&both, "run has no accuracy, because the images have no labels.");
    says(&both, "<td>0.75\u{a0}/ 0.10</td>");
    says(&both, "<b>70.0 ±\u{a0}0.5</b>");
}

#[test]
fn a_run_without_labels_that_learned_nothing_says_so() {
    let mut events = vec![started(0)];
    events.extend(unlabelled(0, 0.7));
    events.extend(unlabelled(2000, 0.72));
    says(
        &page(events),
        "Width 1.0 learned nothing: cosines 0.70 (same image) / 0.10 (different) before, 0.72 / 0.10 after.",
    );
}

#[test]
fn test_images_of_one_class_have_no_accuracy() {
    let one_class = |event| match event {
        Event::Evaluated(evaluated) => Event::Evaluated(Evaluated {
            knn: None,
            knn_standard_error: None,
            no_accuracy: Some(NoAccuracy::OneTestClass),
            ..evaluated
        }),
        other => other,
    };
    let page = page(complete().into_iter().map(one_class).collect());
    says(&page, "There is no accuracy, because all test images are of one class.");
    assert!(!page.contains("kNN"));
}

#[test]
fn labelled_runs_have_the_measures_beside_their_accuracies() {
    let run = interfering("run");
    let page = checked(std::slice::from_ref(&run));
    says(&page, "<b>70.0 ±\u{a0}0.5</b>");
    says(&page, r#"<td><span class="before">0.20 →</span> <b>0.75</b></td>"#);
    says(&page, r#"id="measures-1-title""#);
    assert_eq!(section(&[run, without_labels("other")], "measures").matches("<svg class=\"chart").count(), 10);
}

fn svg_of(reports: &[Report], name: &str) -> Option<String> {
    figures(reports).into_iter().find(|figure| figure.name == name).unwrap().svg
}

#[test]
fn a_run_that_measured_interference_has_all_its_figures() {
    let run = [interfering("run")];
    let page = checked(&run);
    for what in [
        r#"id="figure3-0-title""#,
        r#"id="singular-values-0-title""#,
        r#"id="gradient-path-0-title""#,
        r#"id="figure5-1-title""#,
        r#"id="cosines-1-title""#,
        r#"id="conflicts-over-training-0-title""#,
        "<h4>fc.2.weight</h4>",
        "<h4>stage &lt;1&gt;</h4>",
        "39 measurements from step 100 to step 2,000; the components explain",
        "Direction 1 (80.0 % of variance)",
        "The path of the weights goes from epoch 0.0 (loss 3.000e0) to epoch 4.0",
        "0.25 and 1.0: -0.35, 60.0 % in conflict.",
    ] {
        says(&page, what);
    }
    assert!(figures(&run).iter().all(|figure| figure.svg.is_some() && figure.missing.is_empty()));
    // One pair of six has a negative cosine, for all layers and for the stage.
    assert_eq!(page.matches(r#"<path class="negative" d="M"#).count(), 3, "two cells and the legend");
}

#[test]
fn cosines_before_slow_start_has_ended_are_not_drawn() {
    let mut run = interfering("run");
    run.events.retain(|event| event.step() <= 1000);
    assert_eq!(svg_of(&[run], "cosines"), None);
}

#[test]
fn several_runs_share_axes_and_colours() {
    let mut long = interfering("long");
    long.events.extend((1..=5).map(|n| interference(2000 + 200 * n, [9.0, 8.0, 7.0, 6.0], 5.0)));
    let mut narrow = interfering("narrow");
    narrow.events.iter_mut().for_each(|event| {
        if let Event::Started(started) = event {
            started.config.widths = vec![1.0, 0.25];
        }
    });
    let page = checked(&[long, narrow]);
    says(&page, "<h1>2 runs compared</h1>");
    says(&page, "<td><b>70.0 ±\u{a0}0.5</b></td>");
    // The shorter run's axis ends where the longer one's does, and its narrowest width keeps its colour.
    assert_eq!(page.matches(">3,000</text>").count(), 8);
    let svg = svg_of(&[interfering("a"), earlier("b")], "figure3").unwrap();
    assert_eq!(svg.matches(">0.1</text>").count(), 2);
    says(&svg, ">a</text>");
    assert_eq!(page.matches(r#"class="line w3""#).count() % 2, 0);
}

#[test]
fn runs_without_data_are_named_and_the_others_are_drawn() {
    let blank = Report { events: Vec::new(), ..earlier("<blank>") };
    let begun = Report { events: vec![started(0)], ..earlier("begun") };
    let runs = [interfering("whole"), earlier("old"), blank, begun];
    let page = checked(&runs);
    says(&page, "Not in this report, because events.jsonl has no `started` event: &lt;blank&gt;.");
    says(&page, "Not drawn for begun: no gradient norms are recorded.");
    says(&page, "Not drawn for old and begun: no singular values of gradients are recorded;");
    says(&page, "Not drawn for old and begun: there is no loss landscape;");
    says(&page, "Not drawn for old and begun: no cosines between gradients of widths are recorded");
    let figures = figures(&runs);
    assert!(figures.iter().all(|figure| figure.svg.is_some() && !figure.missing.is_empty()));
    // Without a run that has their data, figures are missing.
    let without: Vec<&str> = slimclr_report::figures(&runs[1..])
        .into_iter()
        .filter(|figure| figure.svg.is_none())
        .map(|figure| figure.name)
        .collect();
    assert_eq!(without, ["measures", "stages", "cosines", "figure4", "figure5"]);
    assert!(checked(&runs[2..3]).contains("no `started` event"));
    assert!(slimclr_report::figures(&runs[2..3]).iter().all(|figure| figure.svg.is_none()));
    assert!(checked(&[earlier("a"), earlier("b")]).contains("2 runs compared"));
}

#[test]
fn interference_that_is_nan_or_infinite_leaves_valid_figures() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 1e99, 1e-300, 0.0, -1.0] {
        let mut run = interfering("run");
        for event in &mut run.events {
            if let Event::Interference(at) = event
                && at.step > 1500
            {
                at.gradient = GradientNorms { norms: vec![value; 4], rest: value };
                at.last_layers.singular_values.insert("fc.2.weight".into(), [value; 2]);
                at.last_layers.products.get_mut("fc.2.weight").unwrap().fill(value);
                for agreement in [&mut at.agreement, &mut at.stages[0].agreement] {
                    agreement.cosines[0][1] = Some(value);
                    agreement.cosines[2] = Vec::new();
                    agreement.conflicts[1][0] = Some(value);
                    agreement.conflicts.truncate(2);
                }
                at.stages[0].norms[1] = Some(value);
                at.stages[0].norms.truncate(3);
            }
        }
        let landscape = run.landscape.as_mut().unwrap();
        landscape.surfaces[0].explained = [value; 2];
        landscape.surfaces[0].loss[3][4] = Some(value);
        landscape.surfaces[0].path[2] = Waypoint { epoch: value, at: Some([value; 2]), loss: Some(value) };
        landscape.surfaces[1].path[0].at = Some([0.0, value]);
        landscape.surfaces[1].loss[2].truncate(3);
        checked(&[run.clone()]);
        checked(&[run.clone(), interfering("other")]);
        run.landscape.as_mut().unwrap().surfaces.iter_mut().for_each(|surface| {
            surface.x[0] = value;
            surface.loss.iter_mut().flatten().for_each(|loss| *loss = Some(value));
        });
        checked(&[run]);
    }
}

#[test]
fn grid_points_without_a_loss_are_crossed_out_and_explained() {
    let mut run = interfering("run");
    let surfaces = &mut run.landscape.as_mut().unwrap().surfaces;
    surfaces[0].loss[0][0] = None;
    surfaces[0].loss[8][1] = None;
    surfaces[1].loss[8][8] = Some(1e30);
    let svg = svg_of(&[run.clone()], "figure5").unwrap();
    says(&svg, "The loss is NaN or infinite at 2 grid points (crosses).");
    says(&svg, "Losses above the end of the scale have its last colour.");
    assert_eq!(svg.matches(r#"<path class="void-cross""#).count(), 2, "in one panel and in the legend");
    run.landscape.as_mut().unwrap().surfaces.iter_mut().for_each(|surface| surface.loss.clear());
    assert_eq!(svg_of(&[run], "figure5"), None);
}

#[test]
fn a_network_of_one_width_has_no_pairs() {
    let mut run = interfering("alone");
    for event in &mut run.events {
        match event {
            Event::Started(started) => started.config.widths = vec![1.0],
            Event::Interference(at) => {
                at.gradient = GradientNorms { norms: vec![0.1], rest: 0.0 };
                at.agreement = Agreement { cosines: vec![vec![Some(1.0)]], conflicts: vec![vec![Some(0.0)]] };
                at.stages.clear();
            }
            _ => {}
        }
    }
    run.landscape.as_mut().unwrap().surfaces.truncate(1);
    let page = checked(&[run.clone()]);
    says(&page, "No cosines between gradients of widths are recorded, because there is only one width.");
    assert!(!page.contains("rest, θ"), "there is no rest");
    assert!(svg_of(&[run], "figure4").is_some());
}

/// Returns the section with this name.
fn section(reports: &[Report], name: &str) -> String {
    sections(reports).into_iter().find(|section| section.name == name).unwrap().html
}

#[test]
fn sections_can_be_drawn_at_any_point_of_a_run() {
    let whole = interfering("run");
    let mut reports = [Report { events: Vec::new(), ..whole.clone() }, earlier("other")];
    for count in (0..=12).chain((13..whole.events.len()).step_by(11)).chain([whole.events.len()]) {
        reports[0].events = whole.events[..count].to_vec();
        for reports in [&reports[..1], &reports] {
            let sections = sections(reports);
            let names: Vec<&str> = sections.iter().map(|section| section.name).collect();
            assert_eq!(names, ["losses", "accuracy", "measures", "figure3", "stages", "cosines", "figure4", "figure5"]);
            for Section { name, html, .. } in sections {
                well_formed(svgs(&html));
                assert!(roxmltree::Document::parse(&html).is_ok(), "{name} is not a single element");
                assert!(!html.contains(" id=") && !html.contains("labelledby"), "{name} has ids");
                assert!(html.contains("<svg class=\"chart") || html.contains("class=\"missing\""), "{name} is empty");
            }
        }
    }
    assert!(section(&[whole], "figure3").contains(r#"aria-label="Gradient norms over training. Mean"#));
}

#[test]
fn sections_of_several_runs_are_side_by_side() {
    let runs = [interfering("a"), interfering("b")];
    let losses = section(&runs, "losses");
    says(&losses, r#"<h3 class="group">Width 0.25</h3>"#);
    says(&losses, r#"<h3 class="group">Contrastive loss</h3>"#);
    // Four quantities and four weighted losses of each run.
    assert_eq!(losses.matches("<svg class=\"chart").count(), 16);
    assert_eq!(section(&runs, "accuracy").matches("<svg class=\"chart").count(), 2);
    let mut short = interfering("b");
    short.events.retain(|event| event.step() <= 1500);
    // Both have the axis of the longer run.
    assert_eq!(section(&[interfering("a"), short], "losses").matches(">2,000</text>").count(), 16);
}

#[test]
fn norms_by_stage_are_those_of_the_last_measurement() {
    let mut run = interfering("run");
    let whole = section(&[run.clone()], "stages");
    says(&whole, "<h4>after step 2,000</h4>");
    says(&whole, "stage &lt;1&gt;: 1.0 3.00, 0.75 2.00, 0.5 1.00, 0.25 0.500.");
    assert!(!whole.contains("not trained"));
    run.events.retain(|event| event.step() <= 1000);
    let before = section(&[run], "stages");
    says(&before, "after step 1,000");
    says(&before, "stage &lt;1&gt;: 1.0 3.00, 0.75 not trained,");
    says(&before, "</svg>not trained</li>");
}

#[test]
fn changes_of_options_are_marked_where_they_happened() {
    let mut run = interfering("run");
    let begun = Config { widths: WIDTHS.into(), ..Config::cifar10() };
    let early = Config { slow_start: 0.0, distill: Distillation::None, ..begun.clone() };
    let late = Config { learning_rate: 0.1, ..early.clone() };
    // The change at step 700 is not an option of training, so it is not marked.
    for (step, config) in [(600, &early), (700, &Config { evaluate_every: 1.0, ..early.clone() }), (1600, &late)] {
        let place = run.events.iter().position(|event| event.step() > step).unwrap();
        run.events.insert(place, changed(step, config.clone()));
    }
    run.events.sort_by_key(Event::step);
    for name in ["losses", "accuracy", "figure3"] {
        let drawn = section(&[run.clone()], name);
        says(&drawn, "<title>distillation off, slow start 0</title>");
        says(&drawn, ">distillation off, slow start 0</text>");
        says(&drawn, ">learning rate 0.1</text>");
        says(
            &drawn,
            "Changed options: distillation off, slow start 0 after step 600; learning rate 0.1 after step 1,600.",
        );
        // The change started the training of sub-networks, so there is no regular end of slow start.
        assert!(!drawn.contains("slow start ends"), "{name}");
    }
    says(&section(&[run.clone(), interfering("b")], "losses"), "Changed options of run: distillation off");
    assert!(!section(&[interfering("run")], "losses").contains("Changed options"));
    // The configuration shows the options after the changes.
    says(&checked(&[run]), "distill = &quot;none&quot;");
}

#[test]
fn a_change_that_is_reverted_at_the_same_step_is_not_marked() {
    let config = Config { widths: WIDTHS.into(), ..Config::cifar10() };
    let off = Config { distill: Distillation::None, ..config.clone() };
    let mut events = vec![started(0), step(10, 3.0), changed(10, off.clone()), changed(10, config), step(20, 2.0)];
    let of = |events: &[Event]| Report { events: events.to_vec(), ..earlier("run") };
    assert!(!section(&[of(&events)], "losses").contains("distillation off"));
    events.extend([changed(20, off), step(30, 1.0)]);
    says(&section(&[of(&events)], "losses"), "<title>distillation off</title>");
    // A change after the checkpoint is lost when the run is interrupted.
    events.extend([started(10), step(20, 2.0)]);
    assert!(!section(&[of(&events)], "losses").contains("distillation off"));
}

#[test]
fn every_section_is_a_figure_file_too() {
    let run = [interfering("run")];
    let drawn = |section: &Section| section.html.contains("<svg");
    let names =
        |has: bool| sections(&run).into_iter().filter(|it| drawn(it) == has).map(|it| it.name).collect::<Vec<_>>();
    let files: Vec<&str> = figures(&run).into_iter().filter(|file| file.svg.is_some()).map(|file| file.name).collect();
    assert_eq!(names(true), files);
    assert!(names(false).is_empty());
}

#[test]
fn a_run_has_a_table_once_it_has_started() {
    let run = earlier("run");
    says(&table(&run).unwrap(), "<td>30.0 ±\u{a0}0.5</td><td><b>70.0 ±\u{a0}0.5</b></td>");
    assert!(table(&Report { events: Vec::new(), ..run }).is_none());
}

#[test]
fn the_style_of_fragments_affects_only_fragments() {
    let style = style(4);
    let (colours, fragments) = style.split_once(".report{").unwrap();
    says(colours, ".w3{color:var(--w3)}");
    says(fragments, "svg .marker");
    let depth = style.chars().fold(0, |depth, c| depth + i32::from(c == '{') - i32::from(c == '}'));
    assert_eq!(depth, 0);
    assert!(!fragments.contains(":root") && !fragments.contains("\nbody"));
}

#[test]
fn accuracy_by_time_has_a_panel_for_each_system_beside_the_reference() {
    let network = |width: f64, hours: f64| SystemNetwork {
        width,
        seconds: 3600.0 * hours,
        accuracy: 0.5 + 0.1 * width,
        standard_error: (width < 1.0).then_some(0.01),
    };
    let system = |name: &str, networks: Vec<SystemNetwork>, hours: Option<f64>| System {
        name: name.into(),
        networks,
        seconds: hours.map(|hours| 3600.0 * hours),
    };
    let slimclr = system("SlimCLR", vec![network(1.0, 2.0), network(0.5, 2.0)], Some(2.0));
    let two_stage = system("A < B", vec![network(1.0, 5.0), network(0.5, 4.5)], Some(5.5));
    let begun = system("begun", Vec::new(), None);
    let FigureFile { name, svg, missing } = accuracy_by_time(&slimclr, &[two_stage, begun.clone()]);
    let svg = svg.unwrap();
    assert_eq!((name, missing.len()), ("accuracy-by-time", 0));
    well_formed([svg.as_str()]);
    assert_eq!(svg.matches(r#"class="heading""#).count(), 2);
    says(&svg, "A &lt; B, width 0.5: 55.0 ±\u{a0}1.0 % after 4.5 h");
    says(&svg, ">all 2: 5.5 h</text>");
    says(&svg, "Pre-training (hours)");
    // The reference is filled in its own panel, hollow in the other; the other is faint in the reference's panel.
    for (class, count) in [("point w1", 2), ("point w1 hollow", 1), ("point faint", 3), ("error w1", 2)] {
        let found = svg.matches(&format!(r#"class="{class}""#)).count();
        // The legend has one point for each width, and one for the others.
        let legend = usize::from(class == "point w1");
        assert_eq!(found, count + legend, "{class}");
    }
    let nothing = accuracy_by_time(&begun, &[]);
    assert!(nothing.svg.is_none());
    assert_eq!(nothing.missing, ["No system has a network that is trained and evaluated."]);
}
