//! What the unpickler makes of calls and persistent ids.

use std::rc::Rc;

use super::{
    super::{
        tensor::{Storage, Tensor},
        value::Value,
    },
    PickleError, Unpickler,
};

/// More dimensions than any weight has.
const MAX_DIMENSIONS: usize = 8;

impl Unpickler<'_> {
    /// Returns what a class or function makes of its arguments: a tensor or container for those that
    /// the policy lists as `INTERPRETED`, else an object.
    pub(super) fn call(&mut self, callable: &Value, arguments: &Value) -> Result<Value, PickleError> {
        let Value::Global(name) = callable else { return self.object(callable) };
        let arguments = self.items(arguments)?;
        match &**name {
            "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => match arguments {
                [Value::Storage(storage), offset, shape, strides, ..] => self.tensor(storage, offset, shape, strides),
                _ => Err(self.damaged()),
            },
            "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => match arguments {
                [Value::Tensor(tensor), ..] => Ok(Value::Tensor(tensor.clone())),
                _ => Err(self.damaged()),
            },
            "collections.OrderedDict" if arguments.is_empty() => Ok(self.empty_dict()),
            // As protocols below 4 write sets. `__builtin__` is Python 2's name of the module.
            "builtins.set" | "builtins.frozenset" | "__builtin__.set" | "__builtin__.frozenset" => match arguments {
                [] => Ok(self.sequence(Vec::new())),
                [items @ Value::Sequence(_)] => Ok(items.clone()),
                _ => Err(self.damaged()),
            },
            _ => self.object(callable),
        }
    }

    pub(super) fn object(&self, class: &Value) -> Result<Value, PickleError> {
        match class {
            Value::Global(name) | Value::Object(name) => Ok(Value::Object(name.clone())),
            _ => Err(self.damaged()),
        }
    }

    /// Returns what a persistent id stands for: a storage, or in files before PyTorch 1.6 the class of a module.
    pub(super) fn persistent(&mut self, id: &Value) -> Result<Value, PickleError> {
        let [Value::Text(what), Value::Global(class), rest @ ..] = self.items(id)? else { return Err(self.damaged()) };
        match (&**what, rest) {
            ("module", _) => Ok(Value::Global(class.clone())),
            // The key, the device and the number of elements. Before PyTorch 1.6 then the place of a view, which only
            // the first versions used.
            ("storage", [Value::Text(key), _, _] | [Value::Text(key), _, _, Value::Plain("None")]) => {
                let storage = Rc::new(Storage { kind: class.clone(), key: key.clone() });
                self.pickle.storages.push(storage.clone());
                Ok(Value::Storage(storage))
            }
            _ => Err(self.damaged()),
        }
    }

    fn tensor(
        &self,
        storage: &Rc<Storage>,
        offset: &Value,
        shape: &Value,
        strides: &Value,
    ) -> Result<Value, PickleError> {
        let [shape, strides] = [self.items(shape)?, self.items(strides)?];
        if shape.len() != strides.len() {
            return Err(self.damaged());
        }
        if shape.len() > MAX_DIMENSIONS {
            return Ok(Value::Plain("a tensor of too many dimensions"));
        }
        let sizes = |values: &[Value]| values.iter().map(|value| self.size(value)).collect::<Result<_, _>>();
        Ok(Value::Tensor(Rc::new(Tensor {
            storage: storage.clone(),
            offset: self.size(offset)?,
            shape: sizes(shape)?,
            strides: sizes(strides)?,
        })))
    }

    fn size(&self, value: &Value) -> Result<usize, PickleError> {
        match value {
            Value::Integer(size) => usize::try_from(*size).map_err(|_| self.damaged()),
            _ => Err(self.damaged()),
        }
    }
}
