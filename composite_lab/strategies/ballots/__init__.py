"""The parts of reading a ballot: labels, quotations, lists."""
