//! temp
use crate::app::FieldError;
use crate::domain::resource::Terms;
use std::collections::BTreeMap;
/// temp
pub fn check_params(
    _t: &Terms,
    map: &serde_json::Map<String, serde_json::Value>,
) -> Result<BTreeMap<String, String>, Vec<FieldError>> {
    Ok(map.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned())).collect())
}
