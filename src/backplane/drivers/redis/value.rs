//! Reading the answers of servers.

use redis::Value;

/// The answer as text.
pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// The value of a field, as text. Some commands answer with a map, others with an array in which
/// each name precedes its value.
pub(super) fn field<'a>(fields: &'a Value, name: &str) -> Option<&'a str> {
    let is_it = |field: &Value| text(field) == Some(name);
    match fields {
        Value::Array(fields) => {
            let mut pairs = fields.chunks_exact(2);
            pairs.find(|pair| is_it(&pair[0])).and_then(|pair| text(&pair[1]))
        }
        Value::Map(fields) => {
            fields.iter().find(|(field, _)| is_it(field)).and_then(|(_, value)| text(value))
        }
        _ => None,
    }
}
