// Everything is defined: draw the page.
buildGallery();
buildFilters();
buildTable();
buildLinks();
buildDuplicates();
readAddress();
document.documentElement.dataset.ready = "true";
