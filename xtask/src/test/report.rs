//! The results of the stages, and the table of them.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::{
    duration::HumanDuration,
    log::info,
    table::{cell, markdown, or_dash},
};

/// How a stage ended that did not fail.
pub enum Outcome<T = ()> {
    Passed(T),
    /// For this reason.
    LeftOut(String),
}

/// The results of the stages so far.
pub struct Report {
    start: Instant,
    rows: Vec<Row>,
}

struct Row {
    stage: &'static str,
    verdict: Verdict,
    elapsed: Duration,
}

enum Verdict {
    Passed,
    Failed(String),
    LeftOut(String),
}

impl Report {
    pub fn new() -> Self {
        Self { start: Instant::now(), rows: Vec::new() }
    }

    /// Runs a stage and records its result. Returns its output if it passed.
    pub fn stage<T>(
        &mut self,
        stage: &'static str,
        description: &str,
        run: impl FnOnce() -> Result<Outcome<T>>,
    ) -> Option<T> {
        let start = Instant::now();
        info(stage, description);
        let result = run();
        let elapsed = start.elapsed();
        let (output, verdict) = match result {
            Ok(Outcome::Passed(output)) => (Some(output), Verdict::Passed),
            Ok(Outcome::LeftOut(reason)) => (None, Verdict::LeftOut(reason)),
            Err(error) => (None, Verdict::Failed(format!("{error:#}"))),
        };
        let reason = verdict.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
        info(stage, &format!("{} after {}{reason}", verdict.word(), HumanDuration(elapsed)));
        self.rows.push(Row { stage, verdict, elapsed });
        output
    }

    /// Prints the table.
    ///
    /// # Errors
    /// If a stage failed.
    pub fn finish(self) -> Result<()> {
        println!("{}", self.table());
        let failed = self.stages(|verdict| matches!(verdict, Verdict::Failed(_)));
        ensure!(failed.is_empty(), "failed: {failed}");
        let left_out = self.stages(|verdict| matches!(verdict, Verdict::LeftOut(_)));
        let all = if left_out.is_empty() { String::new() } else { format!(", except left out: {left_out}") };
        println!("Passed in {}{all}.", HumanDuration(self.start.elapsed()));
        Ok(())
    }

    fn table(&self) -> String {
        let cells = |row: &Row| {
            [
                row.stage.into(),
                row.verdict.word().into(),
                HumanDuration(row.elapsed).to_string(),
                or_dash(row.verdict.reason().map(cell)),
            ]
        };
        markdown(["stage", "result", "time", "reason"], &self.rows.iter().map(cells).collect::<Vec<_>>())
    }

    fn stages(&self, is_wanted: fn(&Verdict) -> bool) -> String {
        let rows = self.rows.iter().filter(|row| is_wanted(&row.verdict));
        rows.map(|row| row.stage).collect::<Vec<_>>().join(", ")
    }
}

impl Verdict {
    fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(_) => "FAILED",
            Self::LeftOut(_) => "left out",
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Passed => None,
            Self::Failed(reason) | Self::LeftOut(reason) => Some(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn stages_continue_after_a_failure_and_the_failure_is_the_result() {
        let mut report = Report::new();
        assert_eq!(report.stage("formatting", "", || Ok(Outcome::Passed(7))), Some(7));
        assert_eq!(report.stage("lints", "", || Err::<Outcome, _>(anyhow!("a\nb | c"))), None);
        assert_eq!(report.stage("exports", "", || Ok(Outcome::<()>::LeftOut("no Python".into()))), None);
        let expected = "\
            | stage      | result   | time  | reason    |\n\
            | ---------- | -------- | ----- | --------- |\n\
            | formatting | passed   | 0.0 s | –         |\n\
            | lints      | FAILED   | 0.0 s | a b / c   |\n\
            | exports    | left out | 0.0 s | no Python |\n";
        assert_eq!(report.table(), expected);
        assert_eq!(report.finish().unwrap_err().to_string(), "failed: lints");
    }

    #[test]
    fn a_stage_that_is_left_out_is_no_failure() {
        let mut report = Report::new();
        report.stage("web lints", "", || Ok(Outcome::<()>::LeftOut("no target".into())));
        report.finish().unwrap();
    }
}
