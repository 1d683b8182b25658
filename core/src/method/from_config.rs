//! The method that a run's options name.

use burn::tensor::Device;
use slimclr_run::config::Config;

use super::{
    Bingo, Compress, Disco, Kd, Memory, Method, MethodKind, MocoV2, MocoV3, Queue, Seed, SimClr, Simdis, SimdisTeacher,
    Sinkhorn, Supervised, Swav, SwavQueue, Teacher, bingo::KEY_WEIGHTS, compress::CompressMemory, swav::ASSIGNING,
};
use crate::{encoder::Encoder, loss::distill::Temperatures, optim::Optimizer, parameter::Parameters};

/// Seeds of a method's random numbers differ from the weights', whose numbers they must not repeat ("meth").
const SEED: u64 = 0x6d657468;

/// Returns the method that `config` names, for a student with this architecture, with the teacher that it learns from.
///
/// # Panics
/// If the method needs a teacher ([`Config::needs_teacher`]) and there is none.
pub fn from_config(config: &Config, encoder: &Encoder, teacher: Option<Teacher>, device: &Device) -> Box<dyn Method> {
    let Config { temperature, queue, dim, .. } = *config;
    let temperatures = Temperatures { teacher: config.target_temperature, student: temperature };
    let given = |teacher: Option<Teacher>| teacher.expect("the options name a teacher");
    match config.method {
        MethodKind::Mocov2 => Box::new(MocoV2 { temperature, queue }),
        MethodKind::Mocov3 => Box::new(MocoV3 { temperature }),
        MethodKind::Simclr => Box::new(SimClr { temperature }),
        MethodKind::Supervised => Box::new(Supervised { frozen_backbone: config.frozen_backbone }),
        MethodKind::Seed => Box::new(Seed {
            teacher: given(teacher),
            temperatures,
            queue,
            patch_queue: (config.small_crops > 0).then(|| Queue::random(dim, queue, config.seed ^ SEED, device)),
        }),
        MethodKind::Kd => Box::new(Kd { teacher: given(teacher), alpha: config.kd_weight, temperatures }),
        MethodKind::Disco => Box::new(Disco {
            teacher: given(teacher),
            temperature,
            queue,
            mse_devices: config.mse_devices,
            only_mse: config.mse_only,
        }),
        MethodKind::Bingo => Box::new(Bingo { teacher: given(teacher), temperature, queue, key_weights: KEY_WEIGHTS }),
        MethodKind::Compress => Box::new(compress(config, encoder, given(teacher), device)),
        MethodKind::Simdis => {
            let teacher =
                if config.online_teacher { Some(online_teacher(config, device)) } else { teacher.map(frozen) };
            Box::new(Simdis { names: config.targets.clone(), teacher })
        }
        MethodKind::Swav => Box::new(Swav {
            prototypes: encoder.prototypes().expect("SwAV's encoder has prototypes").weight(),
            dim,
            sinkhorn: Sinkhorn { epsilon: config.sinkhorn_epsilon, iterations: config.sinkhorn_iterations },
            temperature,
            queue: (queue > 0).then(|| SwavQueue::new(ASSIGNING.len(), queue, dim, device)),
            queue_after: config.queue_after,
            freeze: config.freeze,
        }),
    }
}

/// Returns CompRess with memories of random entries.
fn compress(config: &Config, encoder: &Encoder, teacher: Teacher, device: &Device) -> Compress {
    let mut seeds = (config.seed ^ SEED)..;
    let mut memory = |dim| Memory::uniform(dim, config.queue, seeds.next().unwrap_or_default(), device);
    let teacher_memory = memory(teacher.encoder.backbone().features().full());
    let widths = encoder.layout().widths();
    let of_width = |width| memory(encoder.backbone().features().range(widths, width).len());
    let student_memories = match config.memory {
        CompressMemory::OneQueue => Vec::new(),
        CompressMemory::Momentum | CompressMemory::TwoQueues => (0..widths.len()).map(of_width).collect(),
    };
    Compress { teacher, kind: config.memory, temperature: config.temperature, teacher_memory, student_memories }
}

/// Returns a teacher that is not trained. If its moving average is not known, the teacher itself takes its place.
fn frozen(network: Teacher) -> SimdisTeacher {
    let average = network.average.clone().unwrap_or_else(|| network.parameters.clone());
    SimdisTeacher { average, network, optimizer: None }
}

/// Returns a teacher with random weights, to be trained beside the student.
fn online_teacher(config: &Config, device: &Device) -> SimdisTeacher {
    let encoder = config.online_teacher_encoder().build().expect("the options were checked");
    let layout = encoder.layout().clone();
    let parameters = Parameters::init(layout.clone(), config.seed ^ SEED, device);
    SimdisTeacher {
        average: parameters.clone(),
        optimizer: Some(Optimizer::of_run(config, &layout)),
        network: Teacher { encoder, parameters, average: None },
    }
}
