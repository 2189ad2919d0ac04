// Everything is defined: draw the page.
buildGallery();
buildFilters();
buildTable();
buildLinks();
buildDuplicates();
refresh();
document.documentElement.dataset.ready = "true";
