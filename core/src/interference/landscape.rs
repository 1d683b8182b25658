//! Loss landscapes with the weights' path through them (paper figure 5).

use std::ops::{ControlFlow, RangeInclusive};

use burn::tensor::{ExecutionError, Tensor};
pub use slimclr_run::interference::landscape::{Directions, Landscape, Surface, Waypoint};
use thiserror::Error;

use super::plane::{Plane, Projection};
use crate::{
    checkpoint::Snapshot,
    forward::{Forward, Mode},
    layout::{MismatchError, ParameterSpec},
    method::{Batch, PretextTask, StepPlan, Trainer},
    parameter::Parameters,
    precision::Precision,
};

/// Margin of a plane of principal components around the path, as a share of the path's longer side.
const MARGIN: f64 = 0.25;
/// Weights with a larger norm count as infinite: their products would overflow 32 bits.
const LONGEST: f64 = 1e18;

/// Options of a landscape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survey {
    /// How the plane's directions are chosen.
    pub directions: Directions,
    /// Points along each direction, at least 2.
    pub cells: usize,
    /// Seed of random directions.
    pub seed: u64,
}

/// Why a landscape cannot be computed.
#[derive(Debug, Error)]
pub enum LandscapeError {
    /// A snapshot is of another network.
    #[error(transparent)]
    Mismatch(#[from] MismatchError),
    /// A snapshot's tensors fit, but its sub-networks use other channels.
    #[error("its sub-networks use other channels than the run's: one of the two was trained with `disjoint`")]
    Slices,
    /// No snapshot can be the centre.
    #[error("no snapshot has finite weights at width {0}, so the landscape has no centre")]
    NoCentre(f64),
    /// The caller cancelled it.
    #[error("the landscape was cancelled")]
    Cancelled,
    /// The device failed.
    #[error("the device failed: {0}")]
    Device(#[from] ExecutionError),
}

/// Measures the loss around a run's weights (paper figure 5; Li et al. 2018).
///
/// The loss is the method's own, of one width: contrastive, or cross-entropy in supervised training, without
/// distillation and without its weight in the sum. Views, keys and queue are fixed, so that only the query encoder's
/// weights vary; norms use batch statistics, as in training. Everything is computed in 32 bits, whatever the run's
/// precision.
pub struct Surveyor {
    trainer: Trainer,
    tasks: Vec<Box<dyn PretextTask>>,
    /// Number of micro-batches that the tasks are from.
    parts: usize,
    images: usize,
    snapshots: Vec<Snapshot>,
    steps_per_epoch: u64,
}

impl Surveyor {
    /// Creates a surveyor with the keys and the queue of `trainer`, a run's last state, on the first `images` images of
    /// `batches`, rounded down to whole micro-batches ([`Config::accumulate`]). Fewer images are rounded down to whole
    /// groups of [`Config::bn_splits`], so that batch statistics are over as many images as in training; fewer than one
    /// group are all used.
    ///
    /// [`Config::accumulate`]: crate::config::Config::accumulate
    /// [`Config::bn_splits`]: crate::config::Config::bn_splits
    ///
    /// # Panics
    /// If there are fewer than 2 images.
    pub fn new(mut trainer: Trainer, batches: &[Batch], images: usize, steps_per_epoch: u64) -> Self {
        trainer.options.precision = Precision::F32;
        let mut parts: Vec<Batch> = batches.iter().flat_map(|batch| batch.parts(trainer.options.accumulate)).collect();
        let of_part = parts[0].images();
        let images = if images < of_part {
            let group = of_part / trainer.options.bn_splits;
            trainer.options.bn_splits = (images / group).max(1);
            let images = images.min(trainer.options.bn_splits * group);
            parts = vec![parts[0].narrow(0, images)];
            images
        } else {
            parts.truncate(images / of_part);
            parts.len() * of_part
        };
        let count = parts.len();
        let plan = StepPlan::trial(trainer.steps as f64 / steps_per_epoch as f64);
        let tasks =
            parts.into_iter().enumerate().flat_map(|(number, part)| trainer.tasks(part, number, plan)).collect();
        Self { trainer, tasks, parts: count, images, snapshots: Vec::new(), steps_per_epoch }
    }

    /// Adds a snapshot, in the order of steps. Its weights may be on another device; they are moved one snapshot at a
    /// time. Snapshots stay in that device's memory: 1 MB each for a ResNet-20, 110 MB for a ResNet-50.
    ///
    /// # Errors
    /// If it is of another network than the trainer's.
    pub fn add(&mut self, snapshot: Snapshot) -> Result<(), LandscapeError> {
        let [ours, theirs] = [&self.trainer.query, &snapshot.query].map(Parameters::layout);
        MismatchError::check(ours.named_shapes(), &theirs.named_shapes().collect())?;
        if ours.widths() != theirs.widths() {
            return Err(LandscapeError::Slices);
        }
        self.snapshots.push(snapshot);
        Ok(())
    }

    /// Returns the number of images that losses are averaged over.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Computes the loss of the width at `width` on a plane around the weights of the last snapshot with finite ones.
    ///
    /// A plane of principal components covers the weights' path, with a margin of a quarter of its longer side;
    /// coordinates are distances. A plane of random directions covers -1 to 1 on both axes, in units of the filters'
    /// norms. `on_losses` gets the number of losses just computed, one for each point and one for each snapshot, and
    /// returns whether to continue.
    ///
    /// # Errors
    /// If no snapshot has finite weights, the device fails, or the caller cancels.
    pub async fn surface(
        &self,
        width: usize,
        survey: Survey,
        mut on_losses: impl AsyncFnMut(usize) -> ControlFlow<()>,
    ) -> Result<Surface, LandscapeError> {
        let mut has_place = Vec::with_capacity(self.snapshots.len());
        for snapshot in &self.snapshots {
            // Later snapshots belong to steps that were lost, or that diverged.
            let stands = snapshot.step <= self.trainer.steps;
            has_place.push(stands && length(&snapshot.query, width, ParameterSpec::is_trained).await? <= LONGEST);
        }
        let placed = self.snapshots.iter().zip(&has_place).filter(|(_, has_place)| **has_place);
        let path: Vec<&Parameters> = placed.map(|(snapshot, _)| &snapshot.query).collect();
        let number = self.trainer.encoder.layout().widths().get(width);
        let centre = path.last().copied().ok_or(LandscapeError::NoCentre(number))?;
        let plane = match survey.directions {
            Directions::Random => Plane::random(centre.clone(), width, survey.seed),
            Directions::Pca => Plane::principal(&path, centre.clone(), width, survey.seed).await?,
        };
        let Projection { points, explained } = plane.project(&path).await?;
        let sides = match survey.directions {
            Directions::Random => [-1.0..=1.0, -1.0..=1.0],
            Directions::Pca => sides(&points, length(centre, width, ParameterSpec::is_weight).await?),
        };
        let [x, y] = sides.map(|side| evenly(side, survey.cells));

        let device = self.trainer.query.device();
        let plane = plane.to_device(&device);
        let mut go_on = async |losses: usize| match on_losses(losses).await {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(LandscapeError::Cancelled),
        };
        let mut loss = Vec::with_capacity(y.len());
        for y in &y {
            loss.push(self.losses(width, x.iter().map(|x| plane.at([*x, *y]))).await?);
            go_on(x.len()).await?;
        }
        let mut own = Vec::with_capacity(self.snapshots.len());
        for some in self.snapshots.chunks(survey.cells) {
            own.extend(self.losses(width, some.iter().map(|snapshot| snapshot.query.to_device(&device))).await?);
            go_on(some.len()).await?;
        }
        let mut points = points.into_iter();
        let path = self.snapshots.iter().zip(has_place).zip(own).map(|((snapshot, has_place), loss)| Waypoint {
            epoch: snapshot.step as f64 / self.steps_per_epoch as f64,
            at: if has_place { points.next() } else { None },
            loss,
        });
        Ok(Surface { width: number, path: path.collect(), x, y, loss, explained })
    }

    /// Computes the loss of the width at `width` with each of these parameters, on the trainer's device, which is read
    /// once.
    async fn losses(
        &self,
        width: usize,
        parameters: impl Iterator<Item = Parameters>,
    ) -> Result<Vec<Option<f64>>, ExecutionError> {
        let Trainer { encoder, options, .. } = &self.trainer;
        let losses = parameters.map(|mut parameters| {
            let losses = self.tasks.iter().map(|task| {
                let mut forward = Forward::new(&mut parameters, width, Mode::Train { splits: options.bn_splits });
                task.loss(&task.output(task.forward(&mut forward, encoder))).value
            });
            Tensor::cat(losses.collect(), 0).sum().div_scalar(self.parts as f64)
        });
        let losses = Tensor::cat(losses.collect(), 0).into_data_async().await?;
        Ok(losses.iter::<f64>().map(|loss| loss.is_finite().then_some(loss)).collect())
    }
}

/// Computes the norm of all values that the width at `width` uses and for which `counts` holds.
async fn length(
    parameters: &Parameters,
    width: usize,
    counts: impl Fn(&ParameterSpec) -> bool,
) -> Result<f64, ExecutionError> {
    let counted = parameters.layout().iter().filter(|(_, spec)| counts(spec));
    let squares = counted.filter_map(|(id, _)| Some(parameters.slice(id, width)?.powi_scalar(2).sum()));
    let length = Tensor::<1>::cat(squares.collect(), 0).sum().sqrt().into_data_async().await?;
    Ok(length.iter::<f64>().sum())
}

/// Returns ranges that hold all `points`, with a margin. If the path does not move, the margin is the weights' norm.
fn sides(points: &[[f64; 2]], length_of_weights: f64) -> [RangeInclusive<f64>; 2] {
    let bounds = [0, 1].map(|axis| {
        let along = points.iter().map(|point| point[axis]);
        (along.clone().fold(f64::INFINITY, f64::min), along.fold(f64::NEG_INFINITY, f64::max))
    });
    let longest = bounds.iter().map(|(lowest, highest)| highest - lowest).fold(0.0, f64::max);
    let margin = if longest > 0.0 { MARGIN * longest } else { length_of_weights };
    bounds.map(|(lowest, highest)| lowest - margin..=highest + margin)
}

/// Returns `count` evenly spaced numbers from one end of `side` to the other.
fn evenly(side: RangeInclusive<f64>, count: usize) -> Vec<f64> {
    let (start, end) = side.into_inner();
    let share = |index: usize| index as f64 / (count - 1) as f64;
    (0..count).map(|index| start * (1.0 - share(index)) + end * share(index)).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use futures::executor::block_on;

    use super::*;
    use crate::{
        config::Config,
        loss::{distill::Distillation, reweight::Reweighting},
        method::{MethodKind, StepPlan},
    };

    const RANDOM: Survey = Survey { directions: Directions::Random, cells: 3, seed: 0 };
    const PCA: Survey = Survey { directions: Directions::Pca, ..RANDOM };

    async fn uncancelled(_: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// Returns options whose training losses are those of a landscape.
    fn config(method: MethodKind) -> Config {
        let (distill, reweighting) = (Distillation::None, Reweighting::Equal);
        let small = Config { batch: 8, queue: 16, dim: 8, hidden: 16, image_size: 16, ..Config::mini() };
        Config { method, distill, reweighting, bn_splits: 2, accumulate: 2, ..small }
    }

    /// Creates a trainer after 6 steps, so that snapshots up to there belong to it.
    fn fresh(config: &Config) -> Trainer {
        let encoder = config.encoder().unwrap().build().unwrap();
        Trainer { steps: 6, ..Trainer::new(config, encoder, &Device::flex()) }
    }

    fn snapshot(config: &Config, step: u64, query: Parameters) -> Snapshot {
        Snapshot { step, config: config.clone(), query }
    }

    /// Creates a surveyor with a path of three snapshots, mixed with two other initialisations, to the trainer's
    /// weights.
    fn surveyor(config: &Config, trainer: &Trainer, batch: &Batch, images: usize) -> Surveyor {
        let mut surveyor = Surveyor::new(trainer.clone(), std::slice::from_ref(batch), images, 2);
        let other = |seed| Parameters::init(trainer.query.layout().clone(), seed, &Device::flex());
        for (step, shares) in [(0, [0.2, 0.2]), (2, [0.1, 0.05]), (4, [0.0, 0.0])] {
            let mut query = trainer.query.clone();
            for (share, seed) in shares.iter().zip([101, 102]) {
                query.ema_update(&other(seed), 1.0 - share);
            }
            surveyor.add(snapshot(config, step, query)).unwrap();
        }
        surveyor
    }

    fn close(a: Option<f64>, b: Option<f64>) -> bool {
        a.zip(b).is_some_and(|(a, b)| (a - b).abs() < 1e-4 * b.abs())
    }

    #[test]
    fn the_origin_has_the_loss_of_training() {
        for method in [MethodKind::Mocov2, MethodKind::Mocov3, MethodKind::Simclr, MethodKind::Supervised] {
            let config = config(method);
            let trainer = fresh(&config);
            let batch = Batch::noise(&config, 1, &Device::flex());
            let surveyor = surveyor(&config, &trainer, &batch, config.batch);
            assert_eq!(surveyor.images(), 8);
            let cancelled = block_on(surveyor.surface(0, RANDOM, async |_| ControlFlow::Break(()))).unwrap_err();
            assert!(matches!(cancelled, LandscapeError::Cancelled));
            let trained = trainer.clone().step(batch, StepPlan::trial(0.0)).losses.weighted;
            for (width, loss) in trained.into_iter().enumerate() {
                let expected = Some(f64::from(loss.into_scalar::<f32>()));
                let surface = block_on(surveyor.surface(width, RANDOM, uncancelled)).unwrap();
                assert_eq!((&surface.x, &surface.y), (&vec![-1.0, 0.0, 1.0], &vec![-1.0, 0.0, 1.0]));
                assert!(close(surface.loss[1][1], expected), "{method:?} {surface:?} {expected:?}");
                assert!(close(surface.path[2].loss, expected), "{method:?} {surface:?} {expected:?}");
                assert!(!close(surface.loss[0][0], expected), "{method:?}: the loss does not change");
            }
        }
    }

    #[test]
    fn losses_on_the_paths_plane_match_the_paths() {
        let config = config(MethodKind::Mocov2);
        let trainer = fresh(&config);
        let surveyor = surveyor(&config, &trainer, &Batch::noise(&config, 1, &Device::flex()), config.batch);
        let counted = std::cell::Cell::new(0);
        let count = async |losses| {
            counted.set(counted.get() + losses);
            ControlFlow::Continue(())
        };
        let surface = block_on(surveyor.surface(3, PCA, count)).unwrap();
        assert_eq!(counted.get(), 3 * 3 + 3);
        assert_eq!(surface.width, 0.25);
        assert_eq!(surface.path.iter().map(|point| point.epoch).collect::<Vec<_>>(), [0.0, 1.0, 2.0]);
        assert!(surface.explained.iter().sum::<f64>() > 0.999, "three points span a plane: {:?}", surface.explained);

        let path: Vec<&Parameters> = surveyor.snapshots.iter().map(|snapshot| &snapshot.query).collect();
        let plane = block_on(Plane::principal(&path, trainer.query.clone(), 3, 0)).unwrap();
        for point in &surface.path {
            let at = point.at.unwrap();
            let there = block_on(surveyor.losses(3, std::iter::once(plane.at(at)))).unwrap();
            assert!(close(there[0], point.loss), "{there:?} {point:?}");
            for (place, side) in at.iter().zip([&surface.x, &surface.y]) {
                assert!(side[0] < *place && *place < side[2], "{surface:?}");
            }
        }
    }

    #[test]
    fn non_finite_weights_have_neither_place_nor_loss() {
        let config = config(MethodKind::Mocov2);
        let trainer = fresh(&config);
        let mut surveyor = surveyor(&config, &trainer, &Batch::noise(&config, 1, &Device::flex()), config.batch);
        let ruined = |factor: f64| {
            let mut query = trainer.query.clone();
            for (id, _) in query.layout().clone().iter() {
                query.update(id, |value| value.mul_scalar(factor));
            }
            query
        };
        for factor in [1e30, f64::NAN] {
            surveyor.add(snapshot(&config, 6, ruined(factor))).unwrap();
            let surface = block_on(surveyor.surface(0, PCA, uncancelled)).unwrap();
            let last = surface.path.last().unwrap();
            assert_eq!((last.at, surface.path[2].at), (None, Some([0.0, 0.0])));
            assert!(surface.loss.iter().flatten().all(Option::is_some));
            let json = serde_json::to_string(&surface).unwrap();
            assert_eq!(serde_json::from_str::<Surface>(&json).unwrap().path.len(), surface.path.len());
        }
        assert_eq!(block_on(surveyor.surface(0, PCA, uncancelled)).unwrap().path.last().unwrap().loss, None);

        surveyor.add(snapshot(&config, 7, ruined(2.0))).unwrap();
        let surface = block_on(surveyor.surface(0, PCA, uncancelled)).unwrap();
        assert_eq!(
            (surface.path[5].at, surface.path[2].at),
            (None, Some([0.0, 0.0])),
            "later than the trainer's state"
        );

        surveyor.snapshots.drain(..4);
        let none = block_on(surveyor.surface(1, PCA, uncancelled)).unwrap_err();
        assert!(none.to_string().contains("finite weights at width 0.75"), "{none}");
    }

    #[test]
    fn images_make_whole_parts_or_whole_groups() {
        let config = Config { batch: 32, queue: 32, accumulate: 2, bn_splits: 4, ..config(MethodKind::Mocov2) };
        let trainer = fresh(&config);
        let batch = Batch::noise(&config, 1, &Device::flex());
        for (asked, used, splits) in [(64, 64, 4), (63, 48, 4), (16, 16, 4), (15, 12, 3), (4, 4, 1), (3, 3, 1)] {
            let surveyor = Surveyor::new(trainer.clone(), &[batch.clone(), batch.clone()], asked, 1);
            assert_eq!((surveyor.images(), surveyor.trainer.options.bn_splits), (used, splits), "{asked}");
            let losses = block_on(surveyor.losses(3, std::iter::once(trainer.query.clone()))).unwrap();
            assert!(losses[0].is_some());
        }
    }

    #[test]
    fn snapshots_of_other_networks_are_refused() {
        let run = Config { widths: vec![1.0, 0.5], ..config(MethodKind::Mocov2) };
        let trainer = fresh(&run);
        let refused = |other: Config| {
            let batch = Batch::noise(&run, 1, &Device::flex());
            let mut surveyor = Surveyor::new(trainer.clone(), &[batch], 8, 1);
            surveyor.add(snapshot(&other, 0, fresh(&other).query)).unwrap_err().to_string()
        };
        assert!(refused(Config { depth: 14, ..run.clone() }).contains("unknown (features."));
        assert!(refused(Config { multiplier: 2.0, ..run.clone() }).contains("of another shape"));
        assert!(refused(Config { widths: vec![1.0, 0.5, 0.25], ..run.clone() }).contains("unknown"));
        assert!(refused(Config { disjoint: true, ..run.clone() }).contains("disjoint"));
    }
}
