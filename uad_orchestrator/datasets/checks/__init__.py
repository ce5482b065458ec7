"""What is wrong or odd about a category: by headers, by the contents of masks, by copies of pictures."""
