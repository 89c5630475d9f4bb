//! The one type that values of several types can have, where there is one.

use super::Type;
use super::convert::can_convert;

/// The type that all of these can be converted to; nothing where there is none, or where there are none.
///
/// Objects with the same attributes stay objects and others become maps; tuples of the same length stay tuples and others
/// become lists; beside text, numbers and bools become text. What may be anything fits everything.
pub(in crate::expr) fn unify(types: &[Type]) -> Option<Type> {
    let (first, rest) = types.split_first()?;
    if rest.iter().all(|other| other == first) {
        return Some(first.clone());
    }
    let count = |is: fn(&Type) -> bool| types.iter().filter(|kind| is(kind)).count();
    let anys = count(|kind| matches!(kind, Type::Any));
    let lists = count(|kind| matches!(kind, Type::List(_)));
    let sets = count(|kind| matches!(kind, Type::Set(_)));
    let maps = count(|kind| matches!(kind, Type::Map(_)));
    let objects = count(|kind| matches!(kind, Type::Object(_)));
    let tuples = count(|kind| matches!(kind, Type::Tuple(_)));
    let all = types.len();
    let structure = |counts: &[usize]| counts.iter().sum::<usize>() + anys == all;
    // Beside a null, what holds other values can still become anything.
    let or_any = |make: fn(&[Type]) -> Option<Type>| {
        if anys > 0 { Some(Type::Any) } else { make(types) }
    };
    if maps > 0 && structure(&[maps]) {
        return or_any(|types| elements(types).map(|of| Type::Map(Box::new(of))));
    }
    if maps > 0 && structure(&[maps, objects]) {
        let (objects, others) = split(types, |kind| matches!(kind, Type::Object(_)));
        if let Some(map) = objects_to_map(&objects)
            && let Some(found @ Type::Map(_)) = unify(&with(others, map))
        {
            return Some(found);
        }
    } else if lists > 0 && structure(&[lists]) {
        return or_any(|types| elements(types).map(|of| Type::List(Box::new(of))));
    } else if lists > 0 && structure(&[lists, tuples]) {
        let (tuples, others) = split(types, |kind| matches!(kind, Type::Tuple(_)));
        if let Some(list) = tuples_to_list(&tuples)
            && let Some(found @ Type::List(_)) = unify(&with(others, list))
        {
            return Some(found);
        }
    } else if sets > 0 && structure(&[sets]) {
        return or_any(|types| elements(types).map(|of| Type::Set(Box::new(of))));
    } else if objects > 0 && structure(&[objects]) {
        return or_any(unify_objects);
    } else if tuples > 0 && structure(&[tuples]) {
        return or_any(unify_tuples);
    } else if objects > 0 && tuples > 0 {
        return None;
    }
    // The most general first.
    let mut candidates: Vec<&Type> = types.iter().collect();
    candidates.sort_by_key(|kind| match kind {
        Type::String | Type::List(_) | Type::Map(_) => 0,
        Type::Number | Type::Bool | Type::Tuple(_) | Type::Object(_) => 1,
        Type::Set(_) => 2,
        Type::Any => 3,
    });
    let fits = |wanted: &Type| types.iter().all(|kind| kind == wanted || can_convert(kind, wanted));
    candidates.into_iter().find(|wanted| fits(wanted)).cloned()
}

fn split(types: &[Type], is: fn(&Type) -> bool) -> (Vec<Type>, Vec<Type>) {
    types.iter().cloned().partition(is)
}

fn with(mut types: Vec<Type>, more: Type) -> Vec<Type> {
    types.push(more);
    types
}

fn elements(types: &[Type]) -> Option<Type> {
    let of: Vec<Type> = types
        .iter()
        .filter_map(|kind| match kind {
            Type::List(of) | Type::Set(of) | Type::Map(of) => Some((**of).clone()),
            _ => None,
        })
        .collect();
    unify(&of)
}

fn objects_to_map(types: &[Type]) -> Option<Type> {
    let mut all = Vec::new();
    for kind in types {
        if let Type::Object(fields) = kind {
            all.extend(fields.values().map(|(kind, _)| kind.clone()));
        }
    }
    let map = Type::Map(Box::new(unify(&all)?));
    // Where the elements may be anything, each of the types still needs elements of one.
    types.iter().all(|kind| can_convert(kind, &map)).then_some(map)
}

fn tuples_to_list(types: &[Type]) -> Option<Type> {
    let mut all = Vec::new();
    for kind in types {
        if let Type::Tuple(items) = kind {
            all.extend(items.iter().cloned());
        }
    }
    let list = Type::List(Box::new(unify(&all)?));
    types.iter().all(|kind| can_convert(kind, &list)).then_some(list)
}

fn unify_objects(types: &[Type]) -> Option<Type> {
    let all: Vec<_> = types
        .iter()
        .filter_map(|kind| if let Type::Object(fields) = kind { Some(fields) } else { None })
        .collect();
    let (first, rest) = all.split_first()?;
    if rest.iter().any(|other| !other.keys().eq(first.keys())) {
        return objects_to_map(types);
    }
    let unified = first.keys().map(|name| {
        let across: Vec<Type> = all
            .iter()
            .filter_map(|fields| fields.get(name))
            .map(|(kind, _)| kind.clone())
            .collect();
        Some((name.clone(), (unify(&across)?, false)))
    });
    unified.collect::<Option<_>>().map(Type::Object)
}

fn unify_tuples(types: &[Type]) -> Option<Type> {
    let all: Vec<_> = types
        .iter()
        .filter_map(|kind| if let Type::Tuple(items) = kind { Some(items) } else { None })
        .collect();
    let (first, rest) = all.split_first()?;
    if rest.iter().any(|other| other.len() != first.len()) {
        return tuples_to_list(types);
    }
    let unified = (0..first.len()).map(|at| {
        let across: Vec<Type> = all.iter().filter_map(|items| items.get(at)).cloned().collect();
        unify(&across)
    });
    unified.collect::<Option<_>>().map(Type::Tuple)
}
