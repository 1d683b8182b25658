//! The command of a new run in place of this one.

use std::{ffi::OsString, path::Path};

use anyhow::Result;

use super::RunFolder;
use crate::shell;

impl RunFolder {
    /// Returns the command that trains a new run with this run's options and the flags `changes`, from the weights in
    /// `init`, if any.
    ///
    /// # Errors
    /// If what the folder keeps cannot be read.
    pub fn new_run_command(&self, init: Option<&Path>, changes: Vec<OsString>) -> Result<String> {
        let mut arguments = vec!["pretrain".into(), "--config".into(), self.config_path().into_os_string()];
        if let Some(init) = init {
            arguments.extend(["--init".into(), init.into()]);
        }
        let data = self.config()?.data;
        let found = self.kept_images()?.locate(&data).path;
        if found != data && !changes.iter().any(|flag| flag == "--data") {
            arguments.extend(["--data".into(), found.into()]);
        }
        arguments.extend(changes);
        arguments.extend(["--out".into(), self.next_free().into_os_string()]);
        Ok(shell::command(arguments))
    }
}
