"""What the commands do beside the graph: check, exports, reports, bundles, camera drift, servers, clean-up."""
