use std::{fs, path::Path};

use burn::tensor::Device;
use futures::executor::block_on;
use slimclr_core::{
    checkpoint::{Checkpoint, Snapshot},
    config::Config,
    interference::landscape::{Directions, Landscape},
    method::Trainer,
};

use crate::program::{image_folder, pretrain, refuses, slimclr, stderr, succeeds, text};

/// Writes a snapshot of `trainer`'s encoder into the folder of `run`.
fn write_snapshot(run: &Path, trainer: &Trainer, config: &Config) {
    fs::create_dir_all(run.join("snapshots")).unwrap();
    let bytes = block_on(Snapshot::save(trainer, config)).unwrap();
    fs::write(run.join(format!("snapshots/{:08}.safetensors", trainer.steps)), bytes).unwrap();
}

#[test]
fn a_landscape_shows_the_training_path() {
    let folder = tempfile::tempdir().unwrap();
    image_folder(&folder.path().join("images"), &["a", "b"], 22, 12);
    let images = text(&folder.path().join("images"));
    for method in ["mocov2", "mocov3", "simclr", "supervised"] {
        let out = folder.path().join(method);
        let run = text(&out);
        let landscape = |flags: &[&str]| slimclr(&[&["landscape", &run], flags].concat());
        let options = ["--method", method, "--hidden", "16", "--data", &images, "--epochs", "3", "--out", &run];
        succeeds(&pretrain(&options));
        // Adds a snapshot of NaN.
        let bytes = fs::read(out.join("checkpoint.safetensors")).unwrap();
        let checkpoint = Checkpoint::read(&bytes).unwrap();
        let mut trainer = checkpoint.resume(&Device::flex(), None).unwrap();
        let same = trainer.query.clone();
        trainer.query.ema_update(&same, f64::NAN);
        trainer.steps = 20;
        write_snapshot(&out, &trainer, checkpoint.config());
        let read = || -> Landscape { serde_json::from_slice(&fs::read(out.join("landscape.json")).unwrap()).unwrap() };
        let output = landscape(&["--cells", "5"]);
        succeeds(&output);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
        assert!(printed.contains("lowest loss") && printed.contains("slimclr report"), "{printed}");
        let pca = read();
        // An epoch of 44 images has 5 whole batches of 8.
        assert_eq!((pca.directions, pca.images), (Directions::Pca, 40));
        assert_eq!(pca.surfaces.iter().map(|surface| surface.width).collect::<Vec<_>>(), [1.0, 0.25]);
        for surface in &pca.surfaces {
            assert!(surface.loss.len() == 5 && surface.loss.iter().flatten().all(Option::is_some), "{surface:?}");
            assert!(surface.explained.iter().sum::<f64>() > 0.8, "{:?}", surface.explained);
            let epochs: Vec<f64> = surface.path.iter().map(|point| point.epoch).collect();
            assert_eq!(epochs, [0.0, 1.0, 2.0, 3.0, 4.0]);
            assert_eq!((surface.path[3].at, surface.path[4].at), (Some([0.0, 0.0]), None));
            assert!(surface.path[3].loss.is_some() && surface.path[4].loss.is_none(), "{:?}", surface.path);
        }

        let options = ["--widths", "0.5,1.0", "--directions", "random", "--cells", "3", "--images", "10"];
        let with_seed = |seed| {
            succeeds(&landscape(&[&options[..], &["--seed", seed]].concat()));
            read()
        };
        let random = with_seed("1");
        assert_eq!((random.directions, random.images), (Directions::Random, 8));
        for (surface, width) in random.surfaces.iter().zip([1.0, 0.5]) {
            assert_eq!((surface.width, &surface.x), (width, &vec![-1.0, 0.0, 1.0]));
            let [origin, own] = [surface.loss[1][1], surface.path[3].loss].map(Option::unwrap);
            assert!((origin - own).abs() < 1e-4 * own.abs(), "{surface:?}");
        }
        assert_eq!(with_seed("1"), random);
        assert_ne!(with_seed("2"), random);
    }
}

#[test]
fn a_landscape_names_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let run = text(&out);
    let landscape = |flags: &[&str]| slimclr(&[&["landscape", &run, "--images", "8"], flags].concat());
    refuses(&landscape(&[]), "name a run's folder");
    succeeds(&pretrain(&["--epochs", "0.01", "--interference", "false", "--out", &run]));
    refuses(&landscape(&[]), "has no snapshots of its weights, which a landscape needs");

    let bytes = fs::read(out.join("checkpoint.safetensors")).unwrap();
    let checkpoint = Checkpoint::read(&bytes).unwrap();
    let (trainer, config) = (checkpoint.resume(&Device::flex(), None).unwrap(), checkpoint.config());
    write_snapshot(&out, &trainer, config);
    refuses(&landscape(&["--widths", "1.0,0.3"]), "there is no width 0.3: choose from 1, 0.75, 0.5, 0.25");
    refuses(&landscape(&["--cells", "2"]), "--cells 2 must be between 3 and 201");
    refuses(&landscape(&["--cells", "202"]), "--cells 202 must be between 3 and 201");
    refuses(&slimclr(&["landscape", &run, "--images", "3051"]), "must be between 2 and the 3048 images of an epoch");
    refuses(&slimclr(&["landscape", &run, "--images", "1"]), "must be between 2 and");

    let other = Config { depth: 14, ..config.clone() };
    let mut deeper = Trainer::new(&other, other.encoder().unwrap().build().unwrap(), &Device::flex());
    deeper.steps = 99;
    write_snapshot(&out, &deeper, &other);
    refuses(&landscape(&[]), "00000099.safetensors cannot be used: the tensors do not fit the network");
    fs::write(out.join("snapshots/00000099.safetensors"), &bytes[..1000]).unwrap();
    refuses(&landscape(&[]), "00000099.safetensors cannot be used: it was cut short at 1000 of at least");
    fs::remove_file(out.join("snapshots/00000099.safetensors")).unwrap();
    // A single snapshot is enough.
    succeeds(&landscape(&["--cells", "3", "--widths", "0.25"]));

    fs::write(out.join("checkpoint.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    refuses(&landscape(&[]), "checkpoint.safetensors cannot be used");
    fs::remove_file(out.join("checkpoint.safetensors")).unwrap();
    refuses(&landscape(&[]), "checkpoint.safetensors is gone");
    fs::remove_file(out.join("events.jsonl")).unwrap();
    refuses(&landscape(&[]), "has no checkpoint");
}
