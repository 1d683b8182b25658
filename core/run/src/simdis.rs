//! Options of SimDis.

use serde::{Deserialize, Serialize};

/// What the student predicts from its projection of a view, each with a separate predictor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum SimdisView {
    /// Its own projection of the other view
    SDv,
    /// Its moving average's projection of the same view
    SemaSv,
    /// Its moving average's projection of the other view; alone, it is BYOL
    SemaDv,
    /// The teacher's projection of the same view
    TSv,
    /// The teacher's projection of the other view
    TDv,
    /// The teacher's moving average's projection of the same view
    TemaSv,
    /// The teacher's moving average's projection of the other view
    TemaDv,
}

/// The networks whose projections the student predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SimdisNetwork {
    /// The student itself.
    Student,
    /// The moving average of its parameters.
    StudentEma,
    /// The teacher.
    Teacher,
    /// The moving average of the teacher's parameters.
    TeacherEma,
}

impl SimdisNetwork {
    /// Returns whether it is a teacher, or a teacher's moving average.
    pub fn is_of_teacher(self) -> bool {
        matches!(self, Self::Teacher | Self::TeacherEma)
    }
}

impl SimdisView {
    /// Returns the name of its predictor in the authors' code.
    pub fn name(self) -> &'static str {
        match self {
            Self::SDv => "s_dv",
            Self::SemaSv => "sema_sv",
            Self::SemaDv => "sema_dv",
            Self::TSv => "t_sv",
            Self::TDv => "t_dv",
            Self::TemaSv => "tema_sv",
            Self::TemaDv => "tema_dv",
        }
    }

    /// Returns the network whose projection is predicted.
    pub fn network(self) -> SimdisNetwork {
        match self {
            Self::SDv => SimdisNetwork::Student,
            Self::SemaSv | Self::SemaDv => SimdisNetwork::StudentEma,
            Self::TSv | Self::TDv => SimdisNetwork::Teacher,
            Self::TemaSv | Self::TemaDv => SimdisNetwork::TeacherEma,
        }
    }

    /// Returns whether it is the projection of the other view.
    pub fn is_of_other_view(self) -> bool {
        matches!(self, Self::SDv | Self::SemaDv | Self::TDv | Self::TemaDv)
    }
}
