//! Files that the user chooses or drops, with their paths.

use js_sys::{Array, Function, JsString, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    DataTransfer, File, FileSystemDirectoryEntry, FileSystemDirectoryReader, FileSystemEntry, FileSystemFileEntry,
    HtmlInputElement,
};

/// A file and its path below the chosen or dropped folder; its name if it was not in a folder.
pub type UserFile = (String, File);

/// Returns the files of an input, and clears it so that the same files can be chosen again.
pub fn take_chosen(input: &HtmlInputElement) -> Vec<UserFile> {
    let list = input.files();
    let files = list.iter().flat_map(|list| (0..list.length()).filter_map(|index| list.get(index)));
    let files = files.map(|file| (below_folder(&path_in_folder(&file)).to_owned(), file)).collect();
    input.set_value("");
    files
}

/// Returns the dropped files, including those inside dropped folders. Call it while the event is handled; the future
/// may be awaited later.
pub fn dropped(transfer: &DataTransfer) -> impl Future<Output = Result<Vec<UserFile>, JsValue>> + use<> {
    let items = transfer.items();
    let entries = (0..items.length()).filter_map(|index| items.get(index)?.webkit_get_as_entry().ok()?);
    // The browser invalidates the items after the event.
    let entries: Vec<FileSystemEntry> = entries.collect();
    async move {
        let is_folder = matches!(entries.as_slice(), [only] if only.is_directory());
        let mut files = Vec::new();
        let mut pending = entries;
        while let Some(entry) = pending.pop() {
            if entry.is_directory() {
                pending.extend(read_folder(entry.unchecked_ref()).await?);
            } else {
                let file: File = file(entry.unchecked_ref()).await?.unchecked_into();
                let path = entry.full_path();
                let path = path.trim_start_matches('/');
                files.push((if is_folder { below_folder(path) } else { path }.to_owned(), file));
            }
        }
        files.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(files)
    }
}

/// Reads a file as text.
///
/// # Errors
/// If the browser cannot read it.
pub async fn text(file: &File) -> Result<String, JsValue> {
    let text: JsString = JsFuture::from(file.text()).await?.unchecked_into();
    Ok(text.into())
}

fn path_in_folder(file: &File) -> String {
    let path = Reflect::get(file, &"webkitRelativePath".into()).ok().and_then(|path| path.as_string());
    path.filter(|path| !path.is_empty()).unwrap_or_else(|| file.name())
}

fn below_folder(path: &str) -> &str {
    path.split_once('/').map_or(path, |(_, below)| below)
}

/// Returns all entries of a folder; the browser reads them in batches.
async fn read_folder(folder: &FileSystemDirectoryEntry) -> Result<Vec<FileSystemEntry>, JsValue> {
    let reader: FileSystemDirectoryReader = folder.create_reader();
    let mut entries = Vec::new();
    loop {
        let batch = await_callbacks(|done, failed| {
            reader.read_entries_with_callback_and_callback(done, failed).unwrap_or_else(|error| reject(failed, &error));
        });
        let batch: Array = batch.await?.unchecked_into();
        if batch.length() == 0 {
            return Ok(entries);
        }
        entries.extend(batch.iter().map(JsCast::unchecked_into));
    }
}

async fn file(entry: &FileSystemFileEntry) -> Result<JsValue, JsValue> {
    await_callbacks(|done, failed| entry.file_with_callback_and_callback(done, failed)).await
}

/// Awaits an API that takes a success and an error callback.
async fn await_callbacks(call: impl FnOnce(&Function, &Function)) -> Result<JsValue, JsValue> {
    let mut call = Some(call);
    let promise = Promise::new(&mut |done, failed| {
        if let Some(call) = call.take() {
            call(&done, &failed);
        }
    });
    JsFuture::from(promise).await
}

fn reject(failed: &Function, error: &JsValue) {
    // A promise's reject function does not throw.
    let _ = failed.call1(&JsValue::NULL, error);
}
