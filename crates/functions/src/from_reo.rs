//! `from_reo`: a mass of rare-earth oxide as metal or compound.

use std::sync::Arc;

use datafusion_expr::scalar_doc_sections::DOC_SECTION_MATH;
use datafusion_expr::{Documentation, ScalarUDF};

use crate::oxide::by_substance;

/// The scalar function `from_reo(mass, substance)`.
pub(crate) fn from_reo() -> Arc<ScalarUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_MATH,
        "How much of a metal or compound holds a mass of rare-earth oxide, in the same unit. NULL where an argument is \
         NULL; an error for a substance that holds no rare earth, or more than one. The oxide is the \
         one that is traded: CeO2, Pr6O11, Tb4O7, else the one with 3 atoms of oxygen for 2. From \
         IUPAC's standard atomic weights, as in the table element_factors.",
        "from_reo(mass, substance)",
    )
    .with_argument("mass", "The number, of any numeric type; the result is a DOUBLE in its unit.")
    .with_argument(
        "substance",
        "A chemical formula with one rare earth, such as Nd, NdF3 or Ce2(CO3)3.",
    )
    .with_sql_example("SELECT from_reo(116.64, 'Nd')  -- 100: tonnes of metal")
    .with_related_udf("to_reo")
    .build();
    by_substance("from_reo", documentation, |columns| {
        crate::oxide::masses("from_reo", columns, |mass, factor| mass / factor)
    })
}
