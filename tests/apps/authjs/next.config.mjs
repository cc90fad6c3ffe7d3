export default { devIndicators: false, poweredByHeader: false, turbopack: { root: import.meta.dirname } };
