//! CompRess: losses against memories.

use std::slice;

use burn::tensor::{DType, Device, Tensor};
use serde_json::Value;
use slimclr_core::{
    loss::normalize,
    method::{
        CompressTask, Memory, PretextTask,
        compress::{CompressMemory, Entering},
    },
};

use crate::{
    compare::{Differences, Fingerprint, Quantity, tolerance, values},
    fill::{Kind, data, input},
    runners::{field, text},
};

pub fn compress_loss(case: &Value, dtype: DType) -> Differences {
    let (device, salt, images) = (Device::flex(), text(case, "salt"), field(case, "n"));
    let [teacher_dim, student_dim] = ["teacher_dim", "student_dim"].map(|name| field(case, name));
    let variant: CompressMemory = field(case, "variant");
    let memory = |name: &str, dim: usize| {
        let entries = data(salt, name, &[field(case, "queue"), dim], Kind::Weight, dtype);
        Memory { entries: Tensor::from_data(entries, (&device, dtype)), pointer: 0 }
    };
    let features = |name: &str, step: usize, dim: usize| -> Tensor<2> {
        input(salt, &format!("{name}{step}"), [images, dim], dtype, &device)
    };
    let mut of_teacher = memory("memory_t", teacher_dim);
    let mut of_student = (variant != CompressMemory::OneQueue).then(|| memory("memory_s", student_dim));

    let mut differences = Differences::default();
    let allowed = tolerance(Quantity::TwoStage, "", dtype);
    let losses: Vec<f64> = field(case, "losses");
    let gradients: Vec<Fingerprint> = field(case, "grad_s");
    for step in 0..field::<usize>(case, "steps") {
        let entering = match variant {
            CompressMemory::Momentum => Entering::Keys(vec![normalize(features("k", step, student_dim))]),
            CompressMemory::TwoQueues => Entering::Embeddings,
            CompressMemory::OneQueue => Entering::Nothing,
        };
        let anchors = slice::from_ref(of_student.as_ref().unwrap_or(&of_teacher));
        let (view, teacher) = (Tensor::zeros([1; 4], &device), features("t", step, teacher_dim));
        let task = CompressTask::new(view, teacher, &of_teacher, (anchors, entering), field(case, "temperature"));
        let student = features("s", step, student_dim).autodiff().require_grad();
        let output = task.output(student.clone());
        let loss = task.loss(&output).value;
        let gradient = student.grad(&loss.backward()).unwrap();
        let loss = values(&loss.without_autodiff())[0];
        differences.number(&format!("loss of step {step}"), loss, losses[step], allowed);
        differences.fingerprint(&format!("gradient of s{step}"), &values(&gradient), &gradients[step], allowed);
        let memories = [Some(&mut of_teacher), of_student.as_mut()].into_iter().flatten();
        for (memory, embeddings) in memories.zip(task.memories(&[output.detached()])) {
            memory.replace_oldest(embeddings);
        }
    }
    for (name, memory) in [("memory_t_after", Some(of_teacher)), ("memory_s_after", of_student)] {
        if let Some(memory) = memory {
            let expected: Fingerprint = field(case, name);
            differences.fingerprint(name, &values(&memory.entries), &expected, allowed);
            differences.exact("pointer", &[memory.pointer], &[field(case, "pointer_after")]);
        }
    }
    differences
}
