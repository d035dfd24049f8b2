//! Whether a query can go on from its checkpoint although what it reads was declared anew.

use arrow::datatypes::{DataType, Field};

use super::{AggregatePlan, Changelog, StreamPlan};

impl StreamPlan {
    /// Why the query cannot go on by another plan of the same statement from what it holds; `None` if
    /// it can. `keeps_rows`: its rows are kept, and must stay as they are.
    pub fn breaks_with(&self, after: &Self, keeps_rows: bool) -> Option<String> {
        let rows = keeps_rows || self.changelog() == Changelog::Update;
        if rows && shape(self.schema.fields()) != shape(after.schema.fields()) {
            return Some("its rows would have other columns".to_owned());
        }
        if self.key != after.key || self.emission != after.emission {
            return Some("its rows would be told apart by other columns".to_owned());
        }
        let same_inputs = self.inputs.len() == after.inputs.len();
        let mut groups = self.aggregates().zip(after.aggregates());
        let same_count = self.aggregates().count() == after.aggregates().count();
        if !same_inputs || !same_count || !groups.all(|(before, after)| holds_alike(before, after))
        {
            return Some("it holds groups of the types that there were".to_owned());
        }
        None
    }

    /// Why what the query holds or keeps cannot be put together with what a plan makes of other rows; `None` if
    /// nothing of it would be mixed. `keeps_rows`: its rows are kept.
    pub fn mixes_with(&self, after: &Self, keeps_rows: bool) -> Option<String> {
        let topics = |plan: &Self| -> Vec<String> {
            let inputs = plan.inputs.iter();
            inputs
                .map(|input| input.source.scan.topic.clone())
                .collect()
        };
        let (own, others) = (topics(self), topics(after));
        let groups = |plan: &Self| plan.aggregates().next().is_some();
        let why = if own.iter().any(|topic| !others.contains(topic))
            || others.iter().any(|topic| !own.contains(topic))
        {
            "it would read other topics"
        } else if own != others {
            "it would read its topics in other parts"
        } else if keeps_rows {
            "it keeps rows of the former definition"
        } else if groups(self) {
            "it holds groups of the former definition"
        } else if groups(after) {
            "it would hold groups, which its rows so far are not in"
        } else if self.limit.is_some() || after.limit.is_some() {
            "it counts its rows up to a LIMIT"
        } else {
            return None;
        };
        Some(why.to_owned())
    }

    /// Whether the rows have columns, told by name, that those of another plan do not have.
    pub fn loses_columns_with(&self, after: &Self) -> bool {
        let there = |field: &Field| after.schema.field_with_name(field.name()).is_ok();
        !self.schema.fields().iter().all(|field| there(field))
    }
}

fn shape<'a>(
    fields: impl IntoIterator<Item = &'a std::sync::Arc<Field>>,
) -> Vec<(&'a str, &'a DataType)> {
    let fields = fields.into_iter();
    fields
        .map(|field| (field.name().as_str(), field.data_type()))
        .collect()
}

/// True if the groups of one are those of the other: keys, and what each function remembers.
fn holds_alike(before: &AggregatePlan, after: &AggregatePlan) -> bool {
    let keys = |plan: &AggregatePlan| -> Vec<DataType> {
        let fields = plan.key_fields();
        fields
            .iter()
            .map(|field| field.data_type().clone())
            .collect()
    };
    let window = |plan: &AggregatePlan| {
        let window = plan.window.as_ref();
        window.map(|window| format!("{:?} {} {}", window.kind, window.grace, window.delay))
    };
    keys(before) == keys(after) && window(before) == window(after) && calls(before) == calls(after)
}

/// What each function is and remembers, in words.
fn calls(plan: &AggregatePlan) -> Vec<String> {
    let calls = plan.calls.iter().map(|call| {
        let function = &call.function;
        let states = function.state_fields().unwrap_or_default();
        let states: Vec<&DataType> = states.iter().map(|field| field.data_type()).collect();
        format!(
            "{} {} {:?} {states:?}",
            function.fun().name(),
            function.is_distinct(),
            function.field().data_type(),
        )
    });
    calls.collect()
}
