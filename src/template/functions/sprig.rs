//! A few of sprig's functions, under the names that consul-template gives them.

use super::text::{indented, replace, title, within};
use super::{ANY, Function};
use crate::printf::{printed, quoted};
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function("sprig_default", 2, 2, |_, a| {
        Ok(if a.value(1).is_true() { a.value(1).clone() } else { a.value(0).clone() })
    }),
    Function("sprig_empty", 1, 1, |_, a| Ok(Value::Bool(!a.value(0).is_true()))),
    Function("sprig_coalesce", 1, ANY, |_, a| {
        Ok(a.values.iter().find(|value| value.is_true()).cloned().unwrap_or_default())
    }),
    Function("sprig_ternary", 3, 3, |_, a| {
        Ok(if a.value(2).is_true() { a.value(0).clone() } else { a.value(1).clone() })
    }),
    Function("sprig_quote", 1, ANY, |context, a| {
        let mut texts = Vec::new();
        for value in a.values.iter().filter(|value| !matches!(value, Value::Nil)) {
            let text = printed(value)?;
            context.fuel.text(text.len())?;
            texts.push(quoted(&text));
        }
        context.text(texts.join(" "))
    }),
    Function("sprig_squote", 1, ANY, |context, a| {
        let mut texts = Vec::new();
        for value in a.values.iter().filter(|value| !matches!(value, Value::Nil)) {
            let text = printed(value)?;
            context.fuel.text(text.len())?;
            texts.push(format!("'{text}'"));
        }
        context.text(texts.join(" "))
    }),
    Function("sprig_toString", 1, 1, |context, a| {
        let text = a.printed(0)?;
        context.text(text)
    }),
    Function("sprig_upper", 1, 1, |context, a| context.text(a.text(0)?.to_uppercase())),
    Function("sprig_lower", 1, 1, |context, a| context.text(a.text(0)?.to_lowercase())),
    Function("sprig_title", 1, 1, |context, a| context.text(title(a.text(0)?))),
    Function("sprig_trim", 1, 1, |context, a| context.text(a.text(0)?.trim())),
    Function("sprig_trimPrefix", 2, 2, |context, a| {
        let text = a.text(1)?;
        context.text(text.strip_prefix(a.text(0)?).unwrap_or(text))
    }),
    Function("sprig_trimSuffix", 2, 2, |context, a| {
        let text = a.text(1)?;
        context.text(text.strip_suffix(a.text(0)?).unwrap_or(text))
    }),
    Function("sprig_replace", 3, 3, |context, a| {
        replace(context, a.text(0)?, a.text(1)?, a.text(2)?)
    }),
    Function("sprig_contains", 2, 2, |_, a| Ok(Value::Bool(a.text(1)?.contains(a.text(0)?)))),
    Function("sprig_hasPrefix", 2, 2, |_, a| Ok(Value::Bool(a.text(1)?.starts_with(a.text(0)?)))),
    Function("sprig_hasSuffix", 2, 2, |_, a| Ok(Value::Bool(a.text(1)?.ends_with(a.text(0)?)))),
    Function("sprig_trunc", 2, 2, |context, a| {
        let text = a.text(1)?;
        let length = a.int(0)?;
        let count = usize::try_from(length.unsigned_abs()).unwrap_or(usize::MAX);
        let kept: String = if length >= 0 {
            text.chars().take(count).collect()
        } else {
            text.chars().skip(text.chars().count().saturating_sub(count)).collect()
        };
        context.text(kept)
    }),
    Function("sprig_indent", 2, 2, |context, a| {
        let text = indented(context, a.int(0)?, a.text(1)?)?;
        context.text(text)
    }),
    Function("sprig_nindent", 2, 2, |context, a| {
        let text = indented(context, a.int(0)?, a.text(1)?)?;
        context.text(format!("\n{text}"))
    }),
    Function("sprig_join", 2, 2, |context, a| {
        let separator = a.text(0)?;
        let mut out = String::new();
        for (n, item) in a.list(1)?.iter().enumerate() {
            out.push_str(if n > 0 { separator } else { "" });
            out.push_str(&printed(item)?);
            context.fuel.spend(1)?;
            within(&out)?;
        }
        context.text(out)
    }),
    Function("sprig_list", 0, ANY, |context, a| context.built(Value::list(a.values.to_vec()))),
    Function("sprig_dict", 0, ANY, |context, a| {
        let mut fields = std::collections::BTreeMap::new();
        for at in (0..a.values.len()).step_by(2) {
            fields.insert(std::sync::Arc::from(a.text(at)?), a.value(at + 1).clone());
        }
        context.built(Value::map(fields))
    }),
];
