//! Files that the page is given: chosen, or dropped on it, with the folders they lie in.

use js_sys::{Array, Function, JsString, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    DataTransfer, File, FileSystemDirectoryEntry, FileSystemDirectoryReader, FileSystemEntry, FileSystemFileEntry,
    HtmlInputElement,
};

/// A file with its path below the folder that was chosen or dropped, its name alone if none was.
pub type Given = (String, File);

/// The files of an input, which is emptied so that the same ones can be chosen again.
pub fn chosen(input: &HtmlInputElement) -> Vec<Given> {
    let list = input.files();
    let files = list.iter().flat_map(|list| (0..list.length()).filter_map(|index| list.get(index)));
    let given = files.map(|file| (below_folder(&path_in_folder(&file)).to_owned(), file)).collect();
    input.set_value("");
    given
}

/// The files that were dropped, and all those in folders that were. To be called while the event is handled; what it
/// returns may take its time.
pub fn dropped(transfer: &DataTransfer) -> impl Future<Output = Result<Vec<Given>, JsValue>> + use<> {
    let items = transfer.items();
    let entries = (0..items.length()).filter_map(|index| items.get(index)?.webkit_get_as_entry().ok()?);
    // The browser forgets what was dropped after the event.
    let entries: Vec<FileSystemEntry> = entries.collect();
    async move {
        let is_folder = matches!(entries.as_slice(), [only] if only.is_directory());
        let mut files = Vec::new();
        let mut left = entries;
        while let Some(entry) = left.pop() {
            if entry.is_directory() {
                left.extend(within(entry.unchecked_ref()).await?);
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

/// What a file holds, as text.
///
/// # Errors
/// If it cannot be read, in the browser's words.
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

/// All entries of a folder, which the browser tells in parts.
async fn within(folder: &FileSystemDirectoryEntry) -> Result<Vec<FileSystemEntry>, JsValue> {
    let reader: FileSystemDirectoryReader = folder.create_reader();
    let mut entries = Vec::new();
    loop {
        let part = called(|done, failed| {
            reader.read_entries_with_callback_and_callback(done, failed).unwrap_or_else(|error| reject(failed, &error));
        });
        let part: Array = part.await?.unchecked_into();
        if part.length() == 0 {
            return Ok(entries);
        }
        entries.extend(part.iter().map(JsCast::unchecked_into));
    }
}

async fn file(entry: &FileSystemFileEntry) -> Result<JsValue, JsValue> {
    called(|done, failed| entry.file_with_callback_and_callback(done, failed)).await
}

/// What one of two callbacks is called with.
async fn called(call: impl FnOnce(&Function, &Function)) -> Result<JsValue, JsValue> {
    let mut call = Some(call);
    let promise = Promise::new(&mut |done, failed| {
        if let Some(call) = call.take() {
            call(&done, &failed);
        }
    });
    JsFuture::from(promise).await
}

fn reject(failed: &Function, error: &JsValue) {
    // A promise's own functions do not throw.
    let _ = failed.call1(&JsValue::NULL, error);
}
