"""What sales made of the leads that were handed over, rule by rule: the evidence for an amendment."""
